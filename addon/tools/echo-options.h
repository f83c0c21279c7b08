// SPDX-License-Identifier: Apache-2.0
/* What shunt-echo was asked to do. */
#ifndef SHUNT_TOOLS_ECHO_OPTIONS_H
#define SHUNT_TOOLS_ECHO_OPTIONS_H

#include "net.h"

enum mode { MODE_ECHO, MODE_SINK, MODE_SOURCE, MODE_CHECKSUM, MODE_COUNT, MODE_NUMBER };

static struct {
	enum mode mode;
	double seconds, idle;
	uint64_t connections, source_bytes;
	bool until_stdin_closes, blocking, threads, reset;
} options = {.idle = 60};

static const char help[] =
	"Usage: shunt-echo ADDRESS PORT [options]\n"
	"Listens on an IPv4 or IPv6 address (port 0: any free one), prints \"ready ADDRESS PORT\" "
	"and serves TCP.\n"
	"\n"
	"  --mode echo|sink|source|checksum|count\n"
	"                                    send back what comes (default); read; send until the "
	"peer\n"
	"                                    closes; read to the end, then answer \"BYTES "
	"FNV1A\\n\" or\n"
	"                                    \"BYTES\\n\"\n"
	"  --bytes N                         source: bytes to send, then half-close (default: no "
	"end)\n"
	"  --reset                           close with RST once the first bytes have come\n"
	"  --blocking                        one connection at a time with blocking calls (echo "
	"only)\n"
	"  --threads                         with --blocking: a thread for each (echo, sink and "
	"count)\n"
	"  -n, --connections N               exit after N connections\n"
	"  -d, --duration SECONDS            exit after this time\n"
	"  --idle SECONDS                    close a connection without traffic after this time "
	"(60)\n"
	"  --until-stdin-closes              exit when standard input ends\n"
	"  --help\n"
	"\n"
	"One of -n, -d and --until-stdin-closes is needed, so that it always ends.\n";

static enum mode parse_mode(const char *text)
{
	static const char *const names[] = {"echo", "sink", "source", "checksum", "count"};

	for (int i = 0; i < MODE_NUMBER; i++)
		if (strcmp(text, names[i]) == 0)
			return i;
	usage_error("--mode", text, "must be echo, sink, source, checksum or count");
}

static void parse_options(int argc, char **argv)
{
	for (int i = 3; i < argc; i++) {
		const char *flag = argv[i];
		if (!strcmp(flag, "--mode"))
			options.mode = parse_mode(option_value(argc, argv, &i));
		else if (!strcmp(flag, "--bytes"))
			options.source_bytes =
				parse_number(flag, option_value(argc, argv, &i), 1, 1ull << 50);
		else if (!strcmp(flag, "-n") || !strcmp(flag, "--connections"))
			options.connections =
				parse_number(flag, option_value(argc, argv, &i), 1, 1ull << 40);
		else if (!strcmp(flag, "-d") || !strcmp(flag, "--duration"))
			options.seconds = parse_seconds(flag, option_value(argc, argv, &i));
		else if (!strcmp(flag, "--idle"))
			options.idle = parse_seconds(flag, option_value(argc, argv, &i));
		else if (!strcmp(flag, "--until-stdin-closes"))
			options.until_stdin_closes = true;
		else if (!strcmp(flag, "--blocking"))
			options.blocking = true;
		else if (!strcmp(flag, "--threads"))
			options.threads = true;
		else if (!strcmp(flag, "--reset"))
			options.reset = true;
		else
			usage_error(flag, NULL, "unknown option");
	}
	if (!options.connections && options.seconds == 0 && !options.until_stdin_closes)
		usage_error("-n, -d or --until-stdin-closes", NULL, "one of them is needed");
	if (options.threads && !options.blocking)
		usage_error("--threads", NULL, "only together with --blocking");
	if (options.threads && options.mode != MODE_ECHO && options.mode != MODE_SINK &&
	    options.mode != MODE_COUNT)
		usage_error("--threads", NULL, "echoes, drains or counts");
	if (options.reset && options.blocking)
		usage_error("--reset", NULL, "not together with --blocking");
	if (options.blocking && !options.threads && options.mode != MODE_ECHO)
		usage_error("--blocking", NULL, "only echoes (but see --threads)");
}

#endif

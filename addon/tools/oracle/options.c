// SPDX-License-Identifier: Apache-2.0
#include "options.h"

#define MORE_PORTS (LISTENERS - 1)

struct options options = {
	.connections = 1000,
	.concurrency = 32,
	.number = -1,
	.stall = 10,
	.every = 1,
	.after = 1000,
	.upwards = true,
	.downwards = true,
	/* Urgent data is no matter of course for anything but a plain connection. */
	.wishes = {.seed = 1,
		   .max_size = 65536,
		   .features = (1u << FEATURES) - 1 - (1u << HAS_OOB)},
};

static const char help[] =
	"Usage: shunt-oracle serve ADDRESS PORT [--until-stdin-closes] [OPTION...]\n"
	"       shunt-oracle run ADDRESS PORT [OPTION...]\n"
	"       shunt-oracle relay ADDRESS PORT TARGET PORT --fault NAME [OPTION...]\n"
	"\n"
	"Two ends of TCP connections that check every byte. `run` makes up a scenario for each\n"
	"connection from the seed and its number, tells it to `serve` in the first bytes, and "
	"both\n"
	"do what it says: sizes of calls, pauses, half-close, close, RST, ways to read and write,\n"
	"blocking or not. Each prints one line of JSON at its end; status 1 when anything is "
	"wrong\n"
	"that plain TCP does not do. `notes` say what, with the --number that repeats it alone.\n"
	"\n"
	"`serve` takes eight ports from PORT on (0: free ones): plain, with TCP_DEFER_ACCEPT, "
	"where the\n"
	"server speaks first, for urgent data; the second of each two gives blocking sockets. It\n"
	"ends at SIGTERM or SIGINT.\n"
	"`relay` stands between the two and does one thing wrong, so that it can be seen that it "
	"is\n"
	"noticed.\n"
	"\n"
	"Options of run:\n"
	"  -n, --connections N   how many (1000)\n"
	"  -c, --concurrency N   at the same time (32)\n"
	"  --seed N              what the scenarios are made of (1)\n"
	"  --number N            the connection of this number alone\n"
	"  --min-size BYTES      of a direction, at least (0)\n"
	"  --size BYTES          of a direction, at most (65536)\n"
	"  --client KIND         polling or blocking; both unless given\n"
	"  --server KIND         the same of the server's sockets\n"
	"  --only A,B            of the features below, these alone; `none` for none\n"
	"  --without A,B         all but these\n"
	"  --idle                after a few questions and answers the server leaves what comes "
	"unread\n"
	"                        until both ends get SIGUSR1; `parked` is printed when nothing "
	"moves\n"
	"  --describe            prints the scenarios instead of connecting\n"
	"Options of relay:\n"
	"  --fault NAME          none, swap, drop, duplicate, flip, insert, stall, swallow-eof,\n"
	"                        early-eof, reset\n"
	"  --after BYTES         where in a direction (1000)\n"
	"  --every N             of so many connections one (1)\n"
	"  --direction NAME      up, down; both unless given\n"
	"Options of run and serve:\n"
	"  --stall SECONDS       without progress a connection is stuck (10)\n"
	"  --deaths              resets are no errors, as when a proxy is killed; an early end of\n"
	"                        the stream still is\n"
	"\n"
	"Features:";

static void print_help(void)
{
	fputs(help, stdout);
	for (int i = 0; i < FEATURES; i++)
		printf("%s%s", i % 10 ? " " : "\n  ", feature_names[i]);
	printf("\n`oob` has to be asked for%s.\n",
#ifdef ORACLE_SPLICE
	       "");
#else
	       "; `splice` is only in shunt-oracle-splice");
#endif
}

static uint32_t parse_features(const char *flag, const char *text)
{
	uint32_t features = 0;
	char names[400];

	if (!strcmp(text, "none"))
		return 0;
	if (snprintf(names, sizeof(names), "%s", text) >= (int)sizeof(names))
		usage_error(flag, text, "is too long");
	for (char *rest = names, *name; (name = strsep(&rest, ","));) {
		int i = 0;
		while (i < FEATURES && strcmp(name, feature_names[i]))
			i++;
		if (i == FEATURES)
			usage_error(flag, name, "is no feature");
		features |= 1u << i;
	}
	return features;
}

static int parse_word(const char *flag, const char *text, const char *const *words, int count)
{
	for (int i = 0; i < count; i++)
		if (!strcmp(text, words[i]))
			return i;
	usage_error(flag, text, "is not known");
}

static void describe_all(void)
{
	for (uint64_t i = 0; i < options.connections; i++) {
		struct scenario scenario;
		char text[500];
		if (options.number >= 0 && (uint64_t)options.number != i)
			continue;
		make_scenario(&scenario, &options.wishes, i);
		describe_scenario(&scenario, text, sizeof(text));
		printf("%llu: %s\n", (unsigned long long)i, text);
	}
	exit(0);
}

static const char *const sides[] = {"any", "polling", "blocking"};
static const char *const faults[FAULTS] = {
	"none",	  "swap",  "drop",	  "duplicate", "flip",
	"insert", "stall", "swallow-eof", "early-eof", "reset",
};
static const char *const directions[] = {"both", "up", "down"};

static void parse_option(int argc, char **argv, int *i)
{
	const char *flag = argv[*i];
	struct wishes *wishes = &options.wishes;

	if (!strcmp(flag, "-n") || !strcmp(flag, "--connections"))
		options.connections =
			parse_number(flag, option_value(argc, argv, i), 1, UINT32_MAX);
	else if (!strcmp(flag, "-c") || !strcmp(flag, "--concurrency"))
		options.concurrency = parse_number(flag, option_value(argc, argv, i), 1, 20000);
	else if (!strcmp(flag, "--seed"))
		wishes->seed = parse_number(flag, option_value(argc, argv, i), 0, UINT32_MAX);
	else if (!strcmp(flag, "--number"))
		options.number = parse_number(flag, option_value(argc, argv, i), 0, UINT32_MAX);
	else if (!strcmp(flag, "--min-size"))
		wishes->min_size = parse_number(flag, option_value(argc, argv, i), 0, 1ull << 40);
	else if (!strcmp(flag, "--size"))
		wishes->max_size = parse_number(flag, option_value(argc, argv, i), 0, 1ull << 40);
	else if (!strcmp(flag, "--client"))
		wishes->client = parse_word(flag, option_value(argc, argv, i), sides, 3);
	else if (!strcmp(flag, "--server"))
		wishes->server = parse_word(flag, option_value(argc, argv, i), sides, 3);
	else if (!strcmp(flag, "--only"))
		wishes->features = parse_features(flag, option_value(argc, argv, i));
	else if (!strcmp(flag, "--without"))
		wishes->features &= ~parse_features(flag, option_value(argc, argv, i));
	else if (!strcmp(flag, "--idle"))
		wishes->idle = true;
	else if (!strcmp(flag, "--fault"))
		options.fault = parse_word(flag, option_value(argc, argv, i), faults, FAULTS);
	else if (!strcmp(flag, "--after"))
		options.after = parse_number(flag, option_value(argc, argv, i), 0, 1ull << 40);
	else if (!strcmp(flag, "--every"))
		options.every = parse_number(flag, option_value(argc, argv, i), 1, 1u << 30);
	else if (!strcmp(flag, "--direction")) {
		int direction = parse_word(flag, option_value(argc, argv, i), directions, 3);
		options.upwards = direction != 2;
		options.downwards = direction != 1;
	} else if (!strcmp(flag, "--stall"))
		options.stall = parse_seconds(flag, option_value(argc, argv, i));
	else if (!strcmp(flag, "--deaths"))
		options.deaths = true;
	else if (!strcmp(flag, "--until-stdin-closes"))
		options.until_stdin_closes = true;
	else
		usage_error(flag, NULL, "unknown option");
}

static void parse_target(int argc, char **argv)
{
	if (argc < 6)
		usage_error("TARGET PORT", NULL, "both are needed");
	parse_address(argv[4], argv[5], 1, &options.target);
	parse_number("PORT", argv[5], 1, UINT16_MAX - MORE_PORTS);
}

void parse_command_line(int argc, char **argv)
{
	static const char *const commands[] = {"serve", "run", "relay"};
	bool describe = false;

	for (int i = 1; i < argc; i++)
		if (!strcmp(argv[i], "--help")) {
			print_help();
			exit(0);
		}
	if (argc < 4)
		usage_error("COMMAND ADDRESS PORT", NULL, "all three are needed");
	options.command = parse_word("COMMAND", argv[1], commands, 3);
	options.port = parse_number("PORT", argv[3], options.command == COMMAND_RUN ? 1 : 0,
				    UINT16_MAX - MORE_PORTS);
	options.address_text = argv[2];
	options.address_size = parse_address(argv[2], argv[3], 0, &options.address);
	if (options.command == COMMAND_RELAY)
		parse_target(argc, argv);
	for (int i = options.command == COMMAND_RELAY ? 6 : 4; i < argc; i++) {
		if (!strcmp(argv[i], "--describe"))
			describe = true;
		else
			parse_option(argc, argv, &i);
	}
	if (options.wishes.min_size > options.wishes.max_size)
		options.wishes.max_size = options.wishes.min_size;
#ifndef ORACLE_SPLICE
	options.wishes.features &= ~(1u << HAS_SPLICE);
#endif
	if (describe)
		describe_all();
}

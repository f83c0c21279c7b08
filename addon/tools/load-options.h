// SPDX-License-Identifier: Apache-2.0
/* What shunt-load was asked to do. */
#ifndef SHUNT_TOOLS_LOAD_OPTIONS_H
#define SHUNT_TOOLS_LOAD_OPTIONS_H

#include "net.h"

enum test { TEST_RR, TEST_BULK, TEST_CONNECT, TEST_VERIFY, TEST_RST, TEST_COUNT };
static const char *const test_names[TEST_COUNT] = {"rr", "bulk", "connect", "verify", "rst"};

static struct {
	enum test test;
	union address address;
	socklen_t address_size;
	uint64_t connections, total, size;
	double seconds, idle, warmup;
	bool receive, blocking, confirm, distribution, has_total, has_size;
} options = {.connections = 1, .idle = 10};

static void set_defaults(void)
{
	static const uint64_t sizes[TEST_COUNT] = {1, 0, 0, 1 << 20, 1};

	if (!options.has_size)
		options.size = sizes[options.test];
	if (options.has_total || options.seconds)
		return;
	options.total = options.test == TEST_BULK     ? 1 << 30
			: options.test == TEST_VERIFY ? options.connections
						      : 1000;
}

static void parse_options(int argc, char **argv)
{
	if (argc < 4)
		usage_error("ADDRESS PORT TEST", NULL, "all three are needed");
	options.address_size = parse_address(argv[1], argv[2], 1, &options.address);
	while (options.test < TEST_COUNT && strcmp(argv[3], test_names[options.test]))
		options.test++;
	if (options.test == TEST_COUNT)
		usage_error("TEST", argv[3], "must be rr, bulk, connect, verify or rst");
	for (int i = 4; i < argc; i++) {
		const char *flag = argv[i];
		if (!strcmp(flag, "-c") || !strcmp(flag, "--connections")) {
			options.connections =
				parse_number(flag, option_value(argc, argv, &i), 1, 60000);
		} else if (!strcmp(flag, "-n") || !strcmp(flag, "--total")) {
			options.total =
				parse_number(flag, option_value(argc, argv, &i), 1, 1ull << 50);
			options.has_total = true;
		} else if (!strcmp(flag, "-d") || !strcmp(flag, "--duration")) {
			options.seconds = parse_seconds(flag, option_value(argc, argv, &i));
		} else if (!strcmp(flag, "-s") || !strcmp(flag, "--size")) {
			options.size =
				parse_number(flag, option_value(argc, argv, &i), 0, 1ull << 40);
			options.has_size = true;
		} else if (!strcmp(flag, "--idle")) {
			options.idle = parse_seconds(flag, option_value(argc, argv, &i));
		} else if (!strcmp(flag, "--warmup")) {
			options.warmup = parse_seconds(flag, option_value(argc, argv, &i));
		} else if (!strcmp(flag, "--distribution")) {
			options.distribution = true;
		} else if (!strcmp(flag, "--confirm")) {
			options.confirm = true;
		} else if (!strcmp(flag, "--receive")) {
			options.receive = true;
		} else if (!strcmp(flag, "--blocking")) {
			options.blocking = true;
		} else {
			usage_error(flag, NULL, "unknown option");
		}
	}
	if (options.has_size && options.size == 0 &&
	    (options.test == TEST_RR || options.test == TEST_RST))
		usage_error("-s", "0", "must be at least 1 for this test");
	if (options.receive && options.test != TEST_BULK)
		usage_error("--receive", NULL, "is for bulk only");
	if (options.confirm && (options.test != TEST_BULK || options.receive))
		usage_error("--confirm", NULL, "is for bulk that sends");
	if (options.warmup && options.test != TEST_RR)
		usage_error("--warmup", NULL, "is for rr only");
	if (options.warmup && options.warmup >= options.seconds)
		usage_error("--warmup", NULL, "must be less than -d, which is needed with it");
	if (options.blocking && options.connections > 2000)
		usage_error("-c", "above 2000", "is too many threads for --blocking");
	set_defaults();
}

#endif

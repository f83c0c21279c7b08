// SPDX-License-Identifier: Apache-2.0
/* Prints the addresses of a name, one on each line, as the C library finds them. */
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <sys/socket.h>

int main(int argc, char **argv)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;
	char text[INET6_ADDRSTRLEN];
	int failed;

	if (argc != 2)
		return 2;
	failed = getaddrinfo(argv[1], NULL, &hints, &found);
	if (failed) {
		fprintf(stderr, "%s\n", gai_strerror(failed));
		return 1;
	}
	for (const struct addrinfo *one = found; one; one = one->ai_next) {
		const void *address = one->ai_family == AF_INET
					      ? (void *)&((struct sockaddr_in *)one->ai_addr)->sin_addr
					      : (void *)&((struct sockaddr_in6 *)one->ai_addr)->sin6_addr;

		puts(inet_ntop(one->ai_family, address, text, sizeof(text)));
	}
	freeaddrinfo(found);
	return 0;
}

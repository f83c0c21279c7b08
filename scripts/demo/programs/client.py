# SPDX-License-Identifier: Apache-2.0
# An ordinary Python client of the demo: it knows nothing of Shunt. Usage: python3 client.py ADDRESS PORT
# Prints what `curl -w '%{http_code} %{remote_ip} %{remote_port}'` prints.
import http.client
import sys

connection = http.client.HTTPConnection(sys.argv[1], int(sys.argv[2]), timeout=10)
connection.connect()
peer = connection.sock.getpeername()
connection.request("GET", "/")
print(connection.getresponse().status, peer[0], peer[1])

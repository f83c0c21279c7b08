// SPDX-License-Identifier: Apache-2.0

// A reverse proxy as it is written in Go: io.Copy between TCP connections, which the runtime does with splice(2).
// Arguments: ADDRESS PORT TARGET PORT; takes eight ports in a row.
package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
)

const ports = 8

func pass(to, from *net.TCPConn, done chan<- error) {
	_, err := io.Copy(to, from)
	if err == nil {
		err = to.CloseWrite()
	}
	done <- err
}

func serve(client *net.TCPConn, target string) {
	defer client.Close()
	upstream, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	server := upstream.(*net.TCPConn)
	defer server.Close()
	done := make(chan error, 2)
	go pass(server, client, done)
	go pass(client, server, done)
	for i := 0; i < 2; i++ {
		if err := <-done; err != nil {
			// What is broken on one side is broken on the other.
			client.SetLinger(0)
			server.SetLinger(0)
			return
		}
	}
}

func listen(address, target string) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	go func() {
		for {
			connection, err := listener.Accept()
			if err == nil {
				go serve(connection.(*net.TCPConn), target)
			}
		}
	}()
}

func main() {
	port, _ := strconv.Atoi(os.Args[2])
	targetPort, _ := strconv.Atoi(os.Args[4])
	for i := ports - 1; i >= 0; i-- {
		listen(net.JoinHostPort(os.Args[1], strconv.Itoa(port+i)), net.JoinHostPort(os.Args[3], strconv.Itoa(targetPort+i)))
	}
	select {}
}

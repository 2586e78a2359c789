// Command tlscat is netcat over TLS, as plain as Go has it: what a log that is streamed is compared with.
//
//	tlscat receive CERTIFICATE KEY >to         # says its address in a line on stderr, takes one connection, ends with it
//	cat FILE | tlscat send ADDRESS CA
package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "tlscat:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 3 && args[0] == "receive":
		return receive(args[1], args[2])
	case len(args) == 3 && args[0] == "send":
		return send(args[1], args[2])
	}
	return errors.New("usage: tlscat receive CERTIFICATE KEY, or tlscat send ADDRESS CA")
}

func receive(certificate, key string) error {
	pair, err := tls.LoadX509KeyPair(certificate, key)
	if err != nil {
		return err
	}
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12})
	if err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, listener.Addr())
	conn, err := listener.Accept()
	if err != nil {
		return err
	}
	defer conn.Close()
	return copyAll(os.Stdout, conn)
}

func send(address, ca string) error {
	pem, err := os.ReadFile(ca)
	if err != nil {
		return err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	conn, err := tls.Dial("tcp", address, &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12})
	if err != nil {
		return err
	}
	if err := copyAll(conn, os.Stdin); err != nil {
		return err
	}
	return conn.Close()
}

// copyAll takes as much at once as cat writes.
func copyAll(to io.Writer, from io.Reader) error {
	// Without the shortcuts that files have among themselves: TLS has none.
	_, err := io.CopyBuffer(struct{ io.Writer }{to}, struct{ io.Reader }{from}, make([]byte, 128<<10))
	return err
}

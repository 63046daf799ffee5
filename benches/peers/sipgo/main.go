// A user agent server on sipgo that answers every call: 180, then 200 with an SDP that is the same for everybody; BYE gets 200.
//
// It uses sipgo's server transactions and nothing above them: no dialog object, no SDP negotiation, no RTP socket. That is less
// than ringback does for the same call, and the least that a program on sipgo can do.
//
// Prints "ready PORT" and serves UDP on 127.0.0.1:PORT until SIGTERM.
package main

import (
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"syscall"

	"github.com/emiago/sipgo"
	"github.com/emiago/sipgo/sip"
)

const receiveBuffer = 8 << 20

const description = "v=0\r\n" +
	"o=sipgo 1 1 IN IP4 127.0.0.1\r\n" +
	"s=-\r\n" +
	"c=IN IP4 127.0.0.1\r\n" +
	"t=0 0\r\n" +
	"m=audio 40000 RTP/AVP 0\r\n" +
	"a=rtpmap:0 PCMU/8000\r\n"

func main() {
	if err := serve(); err != nil {
		log.Fatal(err)
	}
}

func serve() error {
	// Formatting what nobody reads is not sipgo's cost.
	sip.SetDefaultLogger(slog.New(slog.NewTextHandler(io.Discard, &slog.HandlerOptions{Level: slog.LevelError})))

	socket, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return err
	}
	if err := socket.SetReadBuffer(receiveBuffer); err != nil {
		return err
	}
	port := socket.LocalAddr().(*net.UDPAddr).Port

	agent, err := sipgo.NewUA(sipgo.WithUserAgent("sipgo"))
	if err != nil {
		return err
	}
	defer agent.Close()
	server, err := sipgo.NewServer(agent)
	if err != nil {
		return err
	}
	contact := sip.ContactHeader{Address: sip.Uri{Scheme: "sip", User: "sipgo", Host: "127.0.0.1", Port: port}}
	server.OnInvite(func(request *sip.Request, transaction sip.ServerTransaction) { answer(request, transaction, &contact) })
	server.OnAck(func(*sip.Request, sip.ServerTransaction) {})
	server.OnBye(func(request *sip.Request, transaction sip.ServerTransaction) {
		report(transaction.Respond(sip.NewResponseFromRequest(request, sip.StatusOK, "OK", nil)))
	})

	go func() {
		stop := make(chan os.Signal, 1)
		signal.Notify(stop, syscall.SIGTERM, os.Interrupt)
		<-stop
		os.Exit(0)
	}()
	fmt.Printf("ready %d\n", port)
	return server.ServeUDP(socket)
}

func answer(request *sip.Request, transaction sip.ServerTransaction, contact *sip.ContactHeader) {
	ringing := sip.NewResponseFromRequest(request, sip.StatusRinging, "Ringing", nil)
	ringing.AppendHeader(contact)
	report(transaction.Respond(ringing))

	ok := sip.NewSDPResponseFromRequest(request, []byte(description))
	ok.AppendHeader(contact)
	// Each response was given a To tag of its own; RFC 3261 §8.2.6.2 wants the same in all of them.
	if tag, tagged := ringing.To().Params.Get("tag"); tagged {
		ok.To().Params.Add("tag", tag)
	}
	report(transaction.Respond(ok))
}

func report(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
}

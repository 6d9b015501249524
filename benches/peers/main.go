// Serves the series that it reads from standard input, in the text format, with client_golang:
// what an exporter in Go would do that keeps a gauge for each value.
//
// Prints its address once it listens. Every series becomes a gauge, whatever it was.
package main

import (
	"bufio"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

func main() {
	registry := prometheus.NewRegistry()
	if err := load(registry); err != nil {
		log.Fatal(err)
	}
	debug.FreeOSMemory()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	http.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	fmt.Println(listener.Addr())
	log.Fatal(http.Serve(listener, nil))
}

func load(registry *prometheus.Registry) error {
	vecs := map[string]*prometheus.GaugeVec{}
	helps := map[string]string{}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		line := lines.Text()
		if help, ok := strings.CutPrefix(line, "# HELP "); ok {
			name, text, _ := strings.Cut(help, " ")
			helps[strings.Clone(name)] = strings.Clone(text)
			continue
		}
		if strings.HasPrefix(line, "#") {
			continue
		}
		series, number, ok := cutLast(line, " ")
		if !ok {
			return fmt.Errorf("no value: %s", line)
		}
		value, err := strconv.ParseFloat(number, 64)
		if err != nil {
			return err
		}
		name, rest, labelled := strings.Cut(series, "{")
		var names, values []string
		for labelled && rest != "}" {
			var label, text string
			label, rest, _ = strings.Cut(rest, "=\"")
			text, rest, ok = strings.Cut(rest, "\"")
			if !ok {
				return fmt.Errorf("an open label: %s", line)
			}
			rest = strings.TrimPrefix(rest, ",")
			names = append(names, strings.Clone(label))
			values = append(values, strings.Clone(text))
		}
		vec := vecs[name]
		if vec == nil {
			name = strings.Clone(name)
			options := prometheus.GaugeOpts{Name: name, Help: helps[name]}
			vec = prometheus.NewGaugeVec(options, names)
			vecs[name] = vec
			if err := registry.Register(vec); err != nil {
				return err
			}
		}
		vec.WithLabelValues(values...).Set(value)
	}
	return lines.Err()
}

func cutLast(text, separator string) (string, string, bool) {
	at := strings.LastIndex(text, separator)
	if at < 0 {
		return text, "", false
	}
	return text[:at], text[at+len(separator):], true
}

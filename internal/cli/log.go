// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"io"
	"log/slog"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	sloggokit "github.com/tjhop/slog-gokit"

	"github.com/zervigo/consul_cluster_exporter/internal/logqueue"
)

// newLogger returns the logger without time and caller, which each user adds in its own way; see withContext and
// newSlog. A reader that stops reading the log does not block the program. What was logged before closeLog is written
// then, unless that blocks.
func newLogger(opts *options, w io.Writer) (logger log.Logger, closeLog func()) {
	queue := logqueue.New(w, func(w io.Writer, dropped int) {
		logger := withContext(formatted(opts, w))
		level.Warn(logger).Log("msg", "the log could not be written for a while, lines are missing here",
			"dropped", dropped)
	})
	return formatted(opts, queue), queue.Close
}

// formatted returns a logger that writes each line with one call of w's Write.
func formatted(opts *options, w io.Writer) log.Logger {
	logger := log.NewLogfmtLogger(w)
	if opts.logFormat == "json" {
		logger = log.NewJSONLogger(w)
	}
	return level.NewFilter(logger, level.Allow(level.ParseDefault(opts.logLevel, level.InfoValue())))
}

func withContext(logger log.Logger) log.Logger {
	return log.With(logger, "ts", log.DefaultTimestampUTC, "caller", log.DefaultCaller)
}

// newSlog lets exporter-toolkit, which logs with slog, write to the same log. The bridge adds the caller and the
// time; the time is renamed to what go-kit calls it.
func newSlog(logger log.Logger) *slog.Logger {
	renamed := log.LoggerFunc(func(keyvals ...any) error {
		for i := 0; i < len(keyvals); i += 2 {
			if keyvals[i] == slog.TimeKey {
				keyvals[i] = "ts"
			}
		}
		return logger.Log(keyvals...)
	})
	return slog.New(sloggokit.NewGoKitHandler(renamed, slog.LevelDebug))
}

package steward

import (
	"context"
	"io"
	"log/slog"

	"github.com/hashicorp/go-hclog"
)

// newLogger hands autopilot's lines on to logger.
func newLogger(logger *slog.Logger) hclog.Logger {
	l := hclog.NewInterceptLogger(&hclog.LoggerOptions{Level: hclog.Off, Output: io.Discard})
	l.RegisterSink(sink{logger})
	return l
}

type sink struct{ logger *slog.Logger }

// Accept implements hclog.SinkAdapter.
func (s sink) Accept(name string, level hclog.Level, msg string, args ...any) {
	l := slog.LevelInfo
	switch level {
	case hclog.Trace, hclog.Debug:
		l = slog.LevelDebug
	case hclog.Warn, hclog.Error: // it goes on to try
		l = slog.LevelWarn
	}
	s.logger.Log(context.Background(), l, msg, append([]any{"component", name}, args...)...)
}

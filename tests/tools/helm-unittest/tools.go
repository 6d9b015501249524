//go:build tools

// Package tools names what is built here, so that go.mod pins it.
package tools

import _ "github.com/helm-unittest/helm-unittest/cmd/helm-unittest"

// FlytePropeller as released, to be measured beside our controller: `python -m loadtest scenarios`
// --controller; the command is in config.yaml.
//
// `go build -o /tmp/flytepropeller .` builds it. The replacements in go.mod are needed because the released module
// refers to its siblings by their place in Flyte's repository.
package main

import "github.com/flyteorg/flyte/flytepropeller/cmd/controller/cmd"

func main() { cmd.Execute() }

// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// StatusSchema is the schema of what the status page and the command check print as JSON.
const StatusSchema = "docs/status.schema.json"

// statusSchemas are its definitions, which here accept no property that they do not describe.
var statusSchemas = sync.OnceValues(func() (map[string]*jsonschema.Schema, error) {
	content, err := os.ReadFile(StatusSchema)
	if err != nil {
		return nil, err
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(content))
	if err != nil {
		return nil, err
	}
	root := document.(map[string]any)
	defs, id := root["$defs"].(map[string]any), root["$id"].(string)
	for _, def := range defs {
		if def := def.(map[string]any); def["properties"] != nil {
			def["additionalProperties"] = false
		}
	}
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	if err := compiler.AddResource(id, document); err != nil {
		return nil, err
	}
	schemas := make(map[string]*jsonschema.Schema)
	for name := range defs {
		if schemas[name], err = compiler.Compile(id + "#/$defs/" + name); err != nil {
			return nil, err
		}
	}
	return schemas, nil
})

// CheckSchema reports what a text in JSON has that a definition of StatusSchema does not describe.
func CheckSchema(definition, text string) error {
	schemas, err := statusSchemas()
	if err != nil {
		return err
	}
	schema, ok := schemas[definition]
	if !ok {
		return fmt.Errorf("%s does not define %s", StatusSchema, definition)
	}
	value, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err != nil {
		return err
	}
	return schema.Validate(value)
}

// ExpectSchema expects what CheckSchema reports to be nothing.
func ExpectSchema(t *testing.T, definition, text string) {
	t.Helper()
	if err := CheckSchema(definition, text); err != nil {
		t.Errorf("JSON does not match %s of %s: %v\n%s", definition, StatusSchema, err, text)
	}
}

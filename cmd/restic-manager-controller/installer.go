package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
)

// installSumOf returns the SHA-256 of the installer in hex; empty for no file.
func installSumOf(file string) (string, error) {
	if file == "" {
		return "", nil
	}
	script, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	if !bytes.HasPrefix(script, []byte("#!")) {
		return "", fmt.Errorf("%s is no script: it must be the install.sh that make install-artifacts writes, and the gateway serves", file)
	}
	sum := sha256.Sum256(script)
	return hex.EncodeToString(sum[:]), nil
}

// Command peak runs a command and prints its peak memory in bytes. If it has children, the largest
// process counts.
//
// It is a program of its own, and imports as little as it can: a parent's memory at the start of a
// process counts as that process's (Linux, fs/exec.c, exec_mmap).
package main

import (
	"os"
	"strconv"
	"syscall"
)

func main() {
	null, err := syscall.Open("/dev/null", syscall.O_RDWR, 0)
	if err != nil {
		os.Exit(1)
	}
	pid, err := syscall.ForkExec(os.Args[1], os.Args[1:], &syscall.ProcAttr{Env: syscall.Environ(), Files: []uintptr{uintptr(null), uintptr(null), 2}})
	if err != nil {
		os.Exit(1)
	}
	var status syscall.WaitStatus
	var usage syscall.Rusage
	if _, err := syscall.Wait4(pid, &status, 0, &usage); err != nil || status.ExitStatus() != 0 {
		os.Exit(1)
	}
	os.Stdout.WriteString(strconv.FormatInt(usage.Maxrss*1024, 10))
}

// The client-go peer of `python -m loadtest informers`: a shared informer of pods as controllers have it, with an
// index and a handler.
//
// `clientgo KUBECONFIG PODS EVENTS CONTENT-TYPE` prints a line of JSON when the list is in the store, and one when that
// many updates have been handled: what each took, as loadtest/_informer_usage.py has it.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
)

const ownerIndex = "owner"

type taken struct {
	CPU    float64 `json:"cpu"`    // seconds
	Memory int64   `json:"memory"` // bytes
}

func main() {
	if err := run(os.Args[1], number(os.Args[2]), number(os.Args[3]), os.Args[4]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(kubeconfig string, pods, events int64, contentType string) error {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	config.ContentType = contentType
	clientset, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	factory := informers.NewSharedInformerFactory(clientset, 0)
	informer := factory.Core().V1().Pods().Informer()
	if err := informer.AddIndexers(cache.Indexers{ownerIndex: owners}); err != nil {
		return err
	}
	listed, updated := reached(pods), reached(events)
	if _, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: func(any) { listed.count() },
		UpdateFunc: func(before, after any) {
			if before.(*corev1.Pod).ResourceVersion != after.(*corev1.Pod).ResourceVersion {
				updated.count()
			}
		},
	}); err != nil {
		return err
	}

	stop := make(chan struct{})
	defer close(stop)
	memory, began := settled(), cpu()
	factory.Start(stop)
	<-listed.done
	listing := taken{cpu() - began, settled() - memory}
	began = cpu() // before the report: who reads it goes on at once
	report(listing)
	<-updated.done
	report(taken{CPU: cpu() - began})
	return nil
}

func owners(obj any) ([]string, error) {
	var uids []string
	for _, owner := range obj.(*corev1.Pod).OwnerReferences {
		uids = append(uids, string(owner.UID))
	}
	return uids, nil
}

// counter is done when it has counted to its goal.
type counter struct {
	left atomic.Int64
	done chan struct{}
}

func reached(goal int64) *counter {
	counting := &counter{done: make(chan struct{})}
	counting.left.Store(goal)
	return counting
}

func (c *counter) count() {
	if c.left.Add(-1) == 0 {
		close(c.done)
	}
}

// cpu is the seconds of CPU of this process, user and system.
func cpu() float64 {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		panic(err)
	}
	return float64(usage.Utime.Nano()+usage.Stime.Nano()) / 1e9
}

// settled is the bytes of anonymous memory that are resident once garbage is collected and free pages are given back.
func settled() int64 {
	debug.FreeOSMemory()
	debug.FreeOSMemory() // what the first one's finalizers let go
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		panic(err)
	}
	_, rest, _ := strings.Cut(string(status), "RssAnon:")
	return number(strings.Fields(rest)[0]) * 1024
}

func number(text string) int64 {
	value, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		panic(err)
	}
	return value
}

func report(what taken) {
	line, err := json.Marshal(what)
	if err != nil {
		panic(err)
	}
	fmt.Println(string(line))
}

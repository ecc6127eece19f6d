// FlytePropeller's resource manager as released, to be measured beside ours: `python -m loadtest tokens --backend redis
// --peer flytepropeller` builds and runs it.
//
//	tokens flood REDIS SLOTS WORKERS SECONDS NAME NOTES
//	tokens take  REDIS SLOTS SECONDS
//
// `flood` takes tokens and gives them back until it is killed, and notes when each begins and ends. `take` prints how
// many of all tokens it gets, and after how many seconds it has them all.
package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"

	pluginCore "github.com/flyteorg/flyte/flyteplugins/go/tasks/pluginmachinery/core"
	"github.com/flyteorg/flyte/flytepropeller/pkg/controller/nodes/task/resourcemanager"
	"github.com/flyteorg/flyte/flytepropeller/pkg/controller/nodes/task/resourcemanager/config"
	"github.com/flyteorg/flyte/flytestdlib/promutils"
)

// As shipped a task asks again when its workflow is looked at again: after 10 s and more.
const pause = 20 * time.Millisecond

const namespace = pluginCore.ResourceNamespace("redisresourcemanager:hive")

func main() {
	number := func(index int) float64 {
		value, err := strconv.ParseFloat(os.Args[index], 64)
		fatal(err)
		return value
	}
	manager := managerOf(os.Args[2], int(number(3)))
	if os.Args[1] == "take" {
		take(manager, int(number(3)), time.Duration(number(4)*float64(time.Second)))
		return
	}
	notes, err := os.OpenFile(os.Args[7], os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	fatal(err)
	flood(manager, int(number(4)), time.Duration(number(5)*float64(time.Second)), os.Args[6], notes)
}

func managerOf(address string, slots int) resourcemanager.BaseResourceManager {
	ctx := context.Background()
	redis := config.RedisConfig{HostPaths: []string{address}, MaxRetries: 3}
	client, err := resourcemanager.NewRedisClient(ctx, redis)
	fatal(err)
	builder, err := resourcemanager.NewRedisResourceManagerBuilder(ctx, client, promutils.NewScope("loadtest"))
	fatal(err)
	fatal(builder.RegisterResourceQuota(ctx, namespace, slots))
	manager, err := builder.BuildResourceManager(ctx)
	fatal(err)
	return manager
}

func flood(manager resourcemanager.BaseResourceManager, workers int, lasts time.Duration, name string, notes *os.File) {
	note := func(what string, token resourcemanager.Token) {
		_, err := fmt.Fprintf(notes, "%d %s %s %s\n", time.Now().UnixNano(), what, name, token)
		fatal(err)
	}
	var group sync.WaitGroup
	for worker := 0; worker < workers; worker++ {
		group.Add(1)
		go func(worker int) {
			defer group.Done()
			for count := 0; ; count++ {
				token := resourcemanager.Token(fmt.Sprintf("%s-%d-%d", name, worker, count))
				for !granted(manager, token) {
					time.Sleep(pause)
				}
				note("begins", token)
				time.Sleep(lasts)
				note("ends", token)
				_ = manager.ReleaseResource(context.Background(), namespace, token)
			}
		}(worker)
	}
	group.Wait()
}

func take(manager resourcemanager.BaseResourceManager, slots int, deadline time.Duration) {
	began, count := time.Now(), 0
	for count < slots && time.Since(began) < deadline {
		if granted(manager, resourcemanager.Token(fmt.Sprintf("last-%d", count))) {
			count++
		} else {
			time.Sleep(pause)
		}
	}
	fmt.Printf("%d %f\n", count, time.Since(began).Seconds())
}

func granted(manager resourcemanager.BaseResourceManager, token resourcemanager.Token) bool {
	status, err := manager.AllocateResource(context.Background(), namespace, token, nil)
	return err == nil && status == pluginCore.AllocationStatusGranted
}

func fatal(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

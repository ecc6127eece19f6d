"""kubectl commands as people type them, in order: a later one sees what an earlier one did.

`<<` parts a command from what goes to its standard input; NAMESPACE stands for the test's.
"""
# ruff: noqa: E501 - a command is a line

POD = (
    '{"apiVersion":"v1","kind":"Pod","metadata":{"name":"web","labels":{"app":"web"}},'
    '"spec":{"containers":[{"name":"main","image":"img:1"}]}}'
)
MAP = '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"settings"},"data":{"a":"1"}}'
MAP_2 = '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"settings"},"data":{"a":"2","b":"3"}}'
FLOW = '{"apiVersion":"flyte.lyft.com/v1alpha1","kind":"FlyteWorkflow","metadata":{"name":"w"},"spec":{"id":"x"}}'

COMMANDS = f"""
get pods
get pods -o wide
get pods -o json
get pods -o name
get nothing
get pod none
get pods -n none
get pods --sideways
create -f - << {POD}
create -f - << {POD}
create -f - --dry-run=server << {POD}
get pods
get pods --no-headers
get pods -o wide
get pods -o yaml
get pod web -o json
get pod web -o name
get pod/web -o jsonpath={{.spec.containers[*].image}}
get pods -o custom-columns=N:.metadata.name,I:.spec.containers[0].image
get pods -o go-template={{{{range.items}}}}{{{{.metadata.name}}}}{{{{end}}}}
get pods -l app=web
get pods -l app=other
get pods -l app!=web
get pods -l a=b=c
get pods -l app,!x --show-labels
get pods -L app
get pods --field-selector status.phase=Pending
get pods --field-selector spec.nodeName=x
get pods --field-selector nothing=x
get pods --sort-by=.metadata.name
get po,cm -o name
label pod web tier=front
label pod web tier=back
label pod web tier=back --overwrite
label pod web tier-
label pod web bad/label/name=x
annotate pod web note=hello
annotate pod web note-
annotate pods --all seen=yes
patch pod web -p {{"metadata":{{"labels":{{"x":"1"}}}}}}
patch pod web --type=merge -p {{"metadata":{{"labels":{{"x":"2"}}}}}}
patch pod web --type=json -p [{{"op":"remove","path":"/metadata/labels/x"}}]
patch pod web --type=json -p [{{"op":"remove","path":"/metadata/labels/x"}}]
patch pod web -p {{"spec":{{"containers":[{{"name":"main","image":"img:2"}}]}}}}
patch pod web -p {{"spec":{{"nodeName":"x"}}}}
patch pod none -p {{}}
set image pod/web main=img:3
apply -f - << {MAP}
apply -f - << {MAP}
diff -f - << {MAP}
apply -f - << {MAP_2}
apply -f - --dry-run=client << {MAP}
apply -f - --dry-run=server << {MAP}
apply --server-side -f - << {MAP_2}
apply --server-side --field-manager=other -f - << {MAP}
apply --server-side --field-manager=other --force-conflicts -f - << {MAP}
get cm settings -o jsonpath={{.data}}
replace -f - << {MAP_2}
replace -f - << {MAP_2.replace("settings", "absent")}
create configmap lit --from-literal=k=v
create configmap lit --from-literal=k=v
create secret generic sec --from-literal=password=x
get secret sec -o jsonpath={{.data.password}}
get secret sec
describe secret sec
describe cm lit
create namespace extra
create namespace Extra
create serviceaccount robot
create role reader --verb=get --resource=pods
create rolebinding rb --role=reader --serviceaccount=default:robot
get roles,rolebindings
create quota q --hard=pods=50
get ns extra
apply -f - << {FLOW}
get flyteworkflows
get fly w
get fly w -o jsonpath={{.spec.id}}
get flyteworkflow.flyte.lyft.com/w -o name
patch fly w --type=merge -p {{"spec":{{"id":"y"}}}}
patch fly w -p {{"spec":{{"id":"y"}}}}
patch fly w --subresource=status --type=merge -p {{"status":{{"state":"running","counts":{{"succeeded":3}}}}}}
get fly
label fly w a=b
wait fly/w --for=jsonpath={{.status.state}}=running --timeout=20s
wait fly/w --for=jsonpath={{.status.state}}=other --timeout=1s
scale fly/w --replicas=2
delete fly w
delete fly w
get crd flyteworkflows.flyte.lyft.com -o jsonpath={{.spec.names.plural}}
logs web
logs none
exec none -- ls
rollout status pod/web
wait pod/web --for=condition=Ready --timeout=1s
wait pod/none --for=delete --timeout=1s
auth can-i create pods
auth can-i list nodes
config current-context --kubeconfig /nonexistent
get --raw /readyz
get --raw /api/v1/namespaces/default/configmaps/none
get all -n extra
edit cm settings
events --for pod/none
delete pod web --dry-run=server
delete pod web --dry-run=client
delete pod web --grace-period=0 --force
delete pod web
delete pod web --ignore-not-found
delete cm -l nothing=here
delete cm lit --cascade=background
delete cm settings --wait=false
delete secret/sec rolebinding/rb role/reader
delete ns default
delete pods --all
delete pods
delete pod a --all
delete pod -l app=web
get pods,nothing
get pods -o jsonpath={{.items[
get pods -o nothing
get pod web extra
get -f - << {{"apiVersion":"v1","kind":"Pod","metadata":{{"name":"web"}}}}
describe pod none
describe nothing x
label pod none a=b
annotate pod none a=b
create role r --verb=get
create configmap empty
create configmap other --from-literal=x=y --dry-run=client -o yaml
create namespace dry --dry-run=server
create serviceaccount robot
get sa robot -o name
get clusterroles nothing
get nodes none
get leases
get events
get cm empty -o yaml
get cm empty -o json
get cm -o name
get quota q -o jsonpath={{.spec.hard.pods}}
scale pod/web --replicas=2
run quick --image=img:1 --restart=Never
run quick --image=img:1 --restart=Never
get pod quick
delete pod quick --now --wait=false
auth can-i get pods --subresource=log
auth can-i delete nothing
wait --for=condition=Ready pod --all --timeout=1s
create -f - << {{"apiVersion":"v1","kind":"Nothing","metadata":{{"name":"x"}}}}
create -f - << {{"apiVersion":"v1","kind":"Pod","metadata":{{"name":"x"}},"spec":{{}}}}
create -f - << {{"apiVersion":"v1","kind":"Pod","metadata":{{"name":"X Y"}},"spec":{{"containers":[{{"name":"m"}}]}}}}
create -f - << {{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"u"}},"data":{{"a":1}}}}
create -f - << {{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"u"}},"dta":{{"a":"1"}}}}
""".strip().splitlines()

LOOKING = r"""
version
version --client
api-resources --api-group=flyte.lyft.com
cluster-info
explain pod.spec.nothing
explain nothing
explain flyteworkflow.spec
explain fly.status --recursive
top pods
top nodes
top pod web
create -f - << {"apiVersion":"v1","kind":"Pod","metadata":{"name":"web","labels":{"app":"web"},"annotations":{"note":"to-edit"}},"spec":{"containers":[{"name":"main","image":"img:1","command":["a"],"args":["b","c"],"ports":[{"containerPort":80}],"env":[{"name":"A","value":"1"},{"name":"B","valueFrom":{"fieldRef":{"fieldPath":"metadata.name"}}}],"resources":{"limits":{"cpu":"1","memory":"1Gi"},"requests":{"cpu":"500m"}},"volumeMounts":[{"name":"v","mountPath":"/v"}]}],"volumes":[{"name":"v","emptyDir":{}}],"tolerations":[{"key":"k","operator":"Exists"}],"nodeSelector":{"a":"b"}}}
describe pod web
describe pods
describe po -l app=web
create -f - << {"apiVersion":"v1","kind":"Event","metadata":{"name":"e1"},"involvedObject":{"kind":"Pod","name":"web","namespace":"NAMESPACE","fieldPath":"spec.containers{main}"},"reason":"BackOff","message":"Back-off restarting","type":"Warning","source":{"component":"kubelet","host":"n"},"reportingComponent":"kubelet","reportingInstance":"n","firstTimestamp":"2026-01-02T03:04:05Z","lastTimestamp":"2026-01-02T03:09:05Z","count":7}
create -f - << {"apiVersion":"v1","kind":"Event","metadata":{"name":"e2"},"involvedObject":{"kind":"Pod","name":"web","namespace":"NAMESPACE"},"reason":"Scheduled","message":"Successfully assigned","type":"Normal","source":{},"reportingComponent":"default-scheduler","reportingInstance":"default-scheduler-n","action":"Binding","eventTime":"2026-01-02T03:04:05.123456Z"}
create -f - << {"apiVersion":"v1","kind":"Event","metadata":{"name":"e3"},"involvedObject":{"kind":"Pod","name":"web","namespace":"NAMESPACE"},"reason":"FailedScheduling","message":"Successfully assigned","type":"Normal","source":{},"reportingComponent":"default-scheduler","reportingInstance":"default-scheduler-n","action":"Binding","series":{"count":3,"lastObservedTime":"2026-01-02T04:04:05.123456Z"},"eventTime":"2026-01-02T03:04:05.123456Z"}
get events
get events -o wide
get events --sort-by=.metadata.name
get events --field-selector reason=BackOff,involvedObject.name=web
get events --field-selector type=Normal
events --for pod/web
events --for pod/web --types=Warning -o name
describe pod web
describe pod/web --show-events=false
get pods -w --request-timeout=1s
get pods -w --watch-only --request-timeout=1s
get pod web -w -o name --request-timeout=1s
get fly -w --request-timeout=1s
get pods -A -l app=web
get pods -A -l app=web -o wide
get cm -A --field-selector metadata.name=nothing
create ns looking
describe ns looking
describe crd flyteworkflows.flyte.lyft.com
create -f - << {"apiVersion":"flyte.lyft.com/v1alpha1","kind":"FlyteWorkflow","metadata":{"name":"w","labels":{"a":"b"}},"spec":{"id":"to-edit","nodes":{"n0":{"k":1}}},"inputs":{"a":[1,2]}}
describe flyteworkflow w
describe fly
describe fly/w
get fly w -o yaml
create -f - << {"apiVersion":"v1","kind":"Node","metadata":{"name":"node-looked-at","labels":{"z":"y"}},"spec":{"taints":[{"key":"k","effect":"NoSchedule"}]},"status":{"capacity":{"cpu":"4","memory":"8Gi","pods":"110"},"conditions":[{"type":"Ready","status":"True","reason":"R","message":"m","lastHeartbeatTime":"2024-01-01T00:00:00Z","lastTransitionTime":"2024-01-01T00:00:00Z"}],"nodeInfo":{"kubeletVersion":"v1","osImage":"os","kernelVersion":"k","containerRuntimeVersion":"c://1","operatingSystem":"linux","architecture":"amd64","machineID":"","systemUUID":"","bootID":"","kubeProxyVersion":""}}}
cordon node-looked-at
cordon node-looked-at
uncordon node-looked-at
taint node node-looked-at a=b:NoSchedule
taint node node-looked-at a=b:NoSchedule
taint node node-looked-at a=c:NoSchedule --overwrite
taint node node-looked-at a-
label node node-looked-at role=x
drain node-looked-at --dry-run=server
drain node-looked-at --force
delete node node-looked-at
create configmap c --from-literal=a=to-edit
describe cm c
diff -f - << {"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c"},"data":{"a":"2"}}
diff -f - << {"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"new"},"data":{"a":"2"}}
diff --server-side -f - << {"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c"},"data":{"a":"2"}}
diff -f - << {"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c"},"dta":{"a":"2"}}
edit cm c
edit cm c -o json
edit pod web
edit fly w
edit cm none
get cm c -o jsonpath={.data}
wait cm/c --for=jsonpath={.data.a}=9 --timeout=5s
wait cm/c --for=create --timeout=1s
wait cm/never --for=create --timeout=1s
wait pod -l app=web --for=condition=Ready --timeout=1s
wait pod -l app=nothing --for=condition=Ready --timeout=1s
wait pods --all --for=jsonpath={.status.phase}=Pending --timeout=2s
wait fly/w --for=delete --timeout=3s
rollout status
rollout restart pod/web
get all
get all -A -l app=web
get services
get svc
create -f - << {"apiVersion":"batch/v1","kind":"Job","metadata":{"name":"count"},"spec":{"completions":3,"parallelism":2,"template":{"spec":{"restartPolicy":"Never","containers":[{"name":"main","image":"img:1"},{"name":"side","image":"img:2"}]}}}}
get jobs
get jobs -o wide
get job count -o yaml
patch job count --subresource=status --type=merge -p {"status":{"startTime":"2026-01-01T00:00:00Z","completionTime":"2026-01-01T00:01:40Z","succeeded":3,"conditions":[{"type":"SuccessCriteriaMet","status":"True"},{"type":"Complete","status":"True"}]}}
get jobs
wait job/count --for=condition=Complete --timeout=2s
get all
delete job count
get jobs
logs web --tail=-1
logs web --tail=-2
logs web --since=0s
logs web --since=-1s
logs web --since=1h --since-time=2024-01-01T00:00:00Z
logs web --since-time=yesterday
logs web --limit-bytes=-1
logs web -c other
logs web -p
logs -l app=web
logs -l app=nothing
logs pod/web --all-containers
logs web --prefix --tail=1
logs
logs cm/c
exec none -- ls
port-forward pod/web 8080:80
auth can-i create pods --subresource=log
auth can-i '*' '*'
get --raw /healthz
get --raw /livez
get --raw /apis/flyte.lyft.com
get --raw /nothing
kustomize /nothing
apply -k /nothing
apply -f /nothing.yaml
apply -f - << x: [
apply -f - << {"kind":"Pod"}
apply -f - << {"apiVersion":"v1","kind":"List","items":[{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"l1"}},{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"l2"}}]}
apply view-last-applied cm l1
apply set-last-applied -f - << {"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"l1"},"data":{"q":"1"}}
apply edit-last-applied cm l1
replace --force -f - << {"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"l2"},"data":{"z":"1"}}
patch cm l2 --type=merge -p {"data":null}
patch cm l2 --type=apply -p {}
set subject rolebinding x --user=y
describe sa none
describe role none
create clusterrole cr --verb=get,list --resource=pods
describe clusterrole cr
create clusterrolebinding crb --clusterrole=cr --user=u
describe clusterrolebinding crb
create quota q --hard=pods=5,cpu=2
delete clusterrole cr
delete clusterrolebinding crb
get events -A --field-selector involvedObject.name=nothing
cordon none
drain none
delete pod web --wait=false --grace-period=5
delete pod web --now
delete pods,cm --all
delete fly --all
delete ns looking --wait=false
get po,svc
describe svc
describe pod web nothing
describe pod -l app=none
completion nothing
scale --replicas=2 fly/none
label fly --all x=y
annotate ns default a=b
annotate ns default a-
get pod web -o jsonpath-as-json={.metadata}
get pods --chunk-size=1
get pods --subresource=status web
get --show-kind --no-headers cm
get cm l1 -o yaml --show-managed-fields
get cm -o custom-columns-file=/nothing
""".strip().splitlines()
"""More of them: what people look around with, change in an editor, and wait for; and what there is none of."""

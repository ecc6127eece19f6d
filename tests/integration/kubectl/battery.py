"""kubectl commands as people type them, in order: a later one sees what an earlier one did.

`<<` parts a command from what goes to its standard input.
"""

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

#!/usr/bin/env bash
# A Kubernetes cluster of one node on a bare Debian 12: real control plane, real kubelet, RBAC. Run as root.
#
#   kubernetes.sh build        build Kubernetes 1.20 from Debian's source package, once, about 4 minutes on two cores,
#                              and install what else it needs
#   kubernetes.sh up           start the cluster (and build it first, if need be); about 20 s
#   kubernetes.sh load IMAGE   carry an image from the docker bed to the node
#   kubernetes.sh env          print what kubectl needs:  eval "$(tests/beds/kubernetes.sh env)"
#   kubernetes.sh status       say whether the node is ready, by exit code
#   kubernetes.sh down         stop it; programs and images stay in $BED/kubernetes for the next time
#
# Enter its network first: nsenter --net=/run/netns/eemtbed kubectl get nodes
# State lies in $BED (default /var/tmp/eemt-beds).
set -euo pipefail

BED=${BED:-/var/tmp/eemt-beds}
STATE=$BED/kubernetes
RUN=$STATE/run # of this start alone: keys, etcd, logs
NODE=$STATE/node
ADDRESS=10.99.0.1
PORT=16443
HERE=$(cd "$(dirname "$0")" && pwd)
PROGRAMS=(kube-apiserver kube-controller-manager kube-scheduler kubelet)
INSIDE=(nsenter --net=/run/netns/eemtbed)
export KUBECONFIG=$RUN/kubeconfig

# The node has a docker of its own, inside the beds' network; the docker bed's, which builds images, has a way out.
node_docker() { DOCKER_HOST=unix://$NODE/docker/docker.sock /usr/bin/docker "$@"; }
bed_docker() { DOCKER_HOST=unix://$BED/docker/docker.sock /usr/bin/docker "$@"; }
kubectl() { "${INSIDE[@]}" kubectl "$@"; }

install_packages() {
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -y -qq --no-install-recommends "$@" > /dev/null
}

install_others() {
  local missing=()
  command -v etcd > /dev/null || missing+=(etcd-server)
  command -v kubectl > /dev/null || missing+=(kubernetes-client)
  # for the image that holds pods
  [ -x "$STATE/pause/pause" ] || command -v cc > /dev/null || missing+=(gcc libc6-dev)
  [ ${#missing[@]} -eq 0 ] || install_packages "${missing[@]}"
}

is_built() {
  local program
  for program in "${PROGRAMS[@]}"; do
    [ -x "$STATE/bin/$program" ] || return 1
  done
}

# --- build -----------------------------------------------------------------------------------------------------------

# Only the source's signed package list is fetched; the machine's own lists and sources stay as they are.
fetch_source() {
  local lists=$STATE/apt mirror options
  # shellcheck disable=SC2016 # apt-get's own words
  mirror=$(apt-get indextargets --format '$(SITE) $(CODENAME)' 'Created-By: Packages' |
    awk '$2 == "bookworm" && !found++ {print $1}')
  mkdir -p "$lists"/{lists/partial,cache/archives/partial}
  echo "deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror bookworm main" > "$lists/sources.list"
  options=(-qq -o Dir::Etc::sourcelist="$lists/sources.list" -o Dir::Etc::sourceparts=- -o APT::Sandbox::User=root
    -o Dir::State::Lists="$lists/lists" -o Dir::Cache="$lists/cache")
  apt-get "${options[@]}" update
  apt-get "${options[@]}" --download-only source kubernetes
}

build() {
  install_others
  is_built && return
  install_packages golang-go dpkg-dev
  rm -rf "$STATE/source"
  mkdir -p "$STATE/bin" "$STATE/source/go/src/k8s.io"
  cd "$STATE/source"
  fetch_source
  # the dependencies lie in the archive; Go looks for the package under its import path
  tar --extract --file kubernetes_*.orig.tar.gz
  mv kubernetes-1.* go/src/k8s.io/kubernetes
  cd go/src/k8s.io/kubernetes
  export GOPATH=$STATE/source/go GOPROXY=off GO111MODULE=off GOFLAGS= GOCACHE=$STATE/source/cache
  write_api_description
  go build -ldflags "-s -w" -o "$STATE/bin/" "${PROGRAMS[@]/#/k8s.io/kubernetes/cmd/}"
  cd "$STATE"
  rm -rf "$STATE/source" "$STATE/apt"
}

# One source file is not in the archive but generated, from the packages that carry a mark.
write_api_description() {
  local root=k8s.io/kubernetes packages
  packages=$(grep -rl --include='*.go' '+k8s:openapi-gen=true' staging/src pkg | grep -v _test.go | xargs -n1 dirname |
    sort -u | sed -e "s#^staging/src/#$root/vendor/#" -e "s#^pkg/#$root/pkg/#" |
    grep -vE 'sample|code-generator|/testing|pkg/generated' | paste -sd,)
  go build -o "$STATE/source/openapi-gen" $root/vendor/k8s.io/kube-openapi/cmd/openapi-gen
  "$STATE/source/openapi-gen" --logtostderr --input-dirs "$packages" --output-package $root/pkg/generated/openapi \
    --output-file-base zz_generated.openapi --go-header-file hack/boilerplate/boilerplate.generatego.txt \
    --report-filename "$STATE/source/violations.txt"
}

# --- start -----------------------------------------------------------------------------------------------------------

start() {
  local name=$1
  shift
  setsid "${INSIDE[@]}" "$@" > "$RUN/log/$name.log" 2>&1 &
  echo $! > "$RUN/$name.pid"
}

wait_for() {
  local what=$1 log=$2
  shift 2
  for _ in $(seq 150); do
    "$@" > /dev/null 2>&1 && return
    sleep 0.3
  done
  tail -n 20 "$RUN/log/$log.log" >&2
  echo "$what did not come up; its log: $RUN/log/$log.log" >&2
  exit 1
}

write_credentials() {
  openssl genrsa -out "$RUN/pki/accounts.key" 2048 2> /dev/null
  local token
  token=$(openssl rand -hex 16)
  echo "$token,admin,1,system:masters" > "$RUN/pki/tokens.csv"
  chmod 600 "$RUN/pki/tokens.csv"
  cat > "$KUBECONFIG" << YAML
apiVersion: v1
kind: Config
clusters: [{name: bed, cluster: {server: "https://$ADDRESS:$PORT", certificate-authority: $RUN/pki/apiserver.crt}}]
users: [{name: admin, user: {token: $token}}]
contexts: [{name: bed, context: {cluster: bed, user: admin, namespace: default}}]
current-context: bed
YAML
  chmod 600 "$KUBECONFIG"
}

start_control_plane() {
  start etcd etcd --data-dir "$RUN/etcd" --listen-client-urls http://127.0.0.1:12379 \
    --advertise-client-urls http://127.0.0.1:12379 --listen-peer-urls http://127.0.0.1:12380 \
    --initial-advertise-peer-urls http://127.0.0.1:12380 --initial-cluster default=http://127.0.0.1:12380
  start apiserver "$STATE/bin/kube-apiserver" --etcd-servers=http://127.0.0.1:12379 --bind-address=$ADDRESS \
    --advertise-address=$ADDRESS --secure-port=$PORT --insecure-port=0 --cert-dir="$RUN/pki" \
    --service-account-key-file="$RUN/pki/accounts.key" --service-account-signing-key-file="$RUN/pki/accounts.key" \
    --service-account-issuer=https://kubernetes.default.svc --service-cluster-ip-range=10.96.0.0/24 \
    --token-auth-file="$RUN/pki/tokens.csv" --authorization-mode=RBAC --kubelet-preferred-address-types=InternalIP
  wait_for "the API server" apiserver kubectl get --raw /readyz
  start controllers "$STATE/bin/kube-controller-manager" --kubeconfig="$KUBECONFIG" --bind-address=127.0.0.1 --port=0 \
    --service-account-private-key-file="$RUN/pki/accounts.key" --root-ca-file="$RUN/pki/apiserver.crt" \
    --use-service-account-credentials=false --leader-elect=false --cert-dir="$RUN/pki/controllers" \
    --feature-gates=TTLAfterFinished=true
  start scheduler "$STATE/bin/kube-scheduler" --kubeconfig="$KUBECONFIG" --bind-address=127.0.0.1 --port=0 \
    --leader-elect=false --cert-dir="$RUN/pki/scheduler"
}

# No network plugin: pods hang on docker's bridge, and reach the API server and S3 at the bed's address.
start_node() {
  start kubelet "$STATE/bin/kubelet" --kubeconfig="$KUBECONFIG" --docker-endpoint="unix://$NODE/docker/docker.sock" \
    --network-plugin= --pod-infra-container-image=local/pause:1 --cgroup-driver=cgroupfs --fail-swap-on=false \
    --address=$ADDRESS --node-ip=$ADDRESS --root-dir="$RUN/kubelet" --cert-dir="$RUN/pki/kubelet" --hostname-override=n1 \
    --cgroups-per-qos=false --enforce-node-allocatable= --anonymous-auth=true --authentication-token-webhook=false \
    --authorization-mode=AlwaysAllow --oom-score-adj=0 --healthz-bind-address=127.0.0.1 --read-only-port=0 \
    '--eviction-hard=nodefs.available<1%' --image-gc-high-threshold=100 --make-iptables-util-chains=false
  wait_for "the node" kubelet is_ready
  wait_for "the service accounts" controllers kubectl get serviceaccount default
}

# Each pod is held by a container that does nothing; the usual one is in a registry, which cannot be reached.
make_pause_image() {
  node_docker image inspect local/pause:1 > /dev/null 2>&1 && return
  local folder=$STATE/pause
  if [ ! -x "$folder/pause" ]; then
    mkdir -p "$folder"
    printf '#include <unistd.h>\nint main(void) { for (;;) pause(); }\n' > "$folder/pause.c"
    cc -static -O2 -o "$folder/pause" "$folder/pause.c"
  fi
  tar --directory "$folder" --create pause | node_docker import --change 'ENTRYPOINT ["/pause"]' - local/pause:1 > /dev/null
}

up() {
  build
  if ! is_ready; then
    down
    "$HERE/netns.sh" up > /dev/null
    BED=$NODE DOCKER_NS=1 "$HERE/docker.sh" up > /dev/null
    make_pause_image
    rm -rf "$RUN"
    mkdir -p "$RUN"/{pki,etcd,log,kubelet}
    write_credentials
    start_control_plane
    start_node
  fi
  environment
}

is_ready() {
  [ -f "$RUN/kubelet.pid" ] && [ -e /run/netns/eemtbed ] && kubectl get nodes 2> /dev/null | grep -q ' Ready'
}

# --- use and stop ----------------------------------------------------------------------------------------------------

load() {
  local image=$1 here there
  here=$(bed_docker image inspect --format '{{.Id}}' "$image")
  there=$(node_docker image inspect --format '{{.Id}}' "$image" 2> /dev/null || true)
  [ "$here" = "$there" ] && return
  bed_docker save "$image" | node_docker load
  # the one that had this name before
  node_docker image prune --force > /dev/null
}

environment() {
  echo "export KUBECONFIG=$KUBECONFIG"
}

stop() {
  local name=$1 pid
  [ -f "$RUN/$name.pid" ] || return 0
  pid=$(cat "$RUN/$name.pid")
  rm "$RUN/$name.pid"
  # after a crash of the machine the number may be another's
  grep -qF "$RUN" "/proc/$pid/cmdline" 2> /dev/null || return 0
  kill "$pid" 2> /dev/null || return 0
  for _ in $(seq 50); do
    kill -0 "$pid" 2> /dev/null || return 0
    sleep 0.1
  done
  kill -9 "$pid" 2> /dev/null || true
}

down() {
  local name mounted
  for name in kubelet scheduler controllers apiserver etcd; do
    stop $name
  done
  if BED=$NODE "$HERE/docker.sh" status; then
    node_docker ps --all --quiet --filter label=io.kubernetes.pod.name | while read -r container; do
      node_docker rm --force "$container" > /dev/null
    done
    BED=$NODE "$HERE/docker.sh" down
  fi
  # secrets are mounted into pods from memory
  awk -v folder="$RUN/kubelet" 'index($2, folder) == 1 {print $2}' /proc/mounts | while read -r mounted; do
    umount "$mounted"
  done
}

case ${1:-} in
  build) build ;;
  up) up ;;
  load) load "${2:?name an image}" ;;
  env) environment ;;
  status) is_ready ;;
  down) down ;;
  *)
    echo "usage: $0 build|up|load IMAGE|env|status|down" >&2
    exit 2
    ;;
esac

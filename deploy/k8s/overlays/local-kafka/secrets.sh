#!/usr/bin/env bash
# Makes the Secrets of the local-kafka overlay, every value random; an existing one is never replaced.
#   deploy/k8s/overlays/local-kafka/secrets.sh            with kubectl's current context
set -euo pipefail
namespace=sushu

random() { openssl rand -hex 32; }
there() { kubectl --namespace "$namespace" get secret "$1" >/dev/null 2>&1; }
make_secret() {  # make_secret <name> <kubectl arguments…>
  local name=$1
  shift
  there "$name" || kubectl --namespace "$namespace" create secret generic "$name" "$@"
}

kubectl get namespace "$namespace" >/dev/null 2>&1 || kubectl create namespace "$namespace"

if ! there sushu-postgres; then
  password=$(random)
  url="postgresql://sushu:${password}@postgres:5432/sushu"
  make_secret sushu-postgres --from-literal=password="$password"
  # one login for all: it acts as each service's own role, which the migration makes
  make_secret sushu-database --from-literal=owner="$url" \
    --from-literal=intake="$url" --from-literal=classify="$url" --from-literal=dispatch="$url" --from-literal=sla="$url" \
    --from-literal=feedback="$url" --from-literal=evaluate="$url" --from-literal=journal="$url"
fi

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
openssl genpkey -algorithm ed25519 -out "$folder/token.ed25519"
make_secret sushu-token-key --from-file="$folder/token.ed25519"
if ! there sushu-intake-keys; then
  kubectl --namespace "$namespace" get secret sushu-token-key -o 'jsonpath={.data.token\.ed25519}' | base64 -d > "$folder/token.ed25519"
  printf '{"current": "1", "vault": {"1": "%s"}, "pseudonym": "%s", "codes": "%s"}\n' \
    "$(openssl rand -base64 32)" "$(openssl rand -base64 32)" "$(openssl rand -base64 32)" > "$folder/intake.json"
  make_secret sushu-intake-keys --from-file="$folder/token.ed25519" --from-file="$folder/intake.json"
fi
if ! there sushu-journal-keys; then
  kubectl --namespace "$namespace" get secret sushu-token-key -o 'jsonpath={.data.token\.ed25519}' | base64 -d > "$folder/token.ed25519"
  random > "$folder/webhooks.key"
  make_secret sushu-journal-keys --from-file="$folder/token.ed25519" --from-file="$folder/webhooks.key"
fi
make_secret sushu-admin --from-literal=token="$(random)"
echo "The admin token: kubectl -n $namespace get secret sushu-admin -o jsonpath='{.data.token}' | base64 -d"

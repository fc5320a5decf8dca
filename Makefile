# Every command of the project. `make run` and `make test` need no other command before them: the environment is made on the way.
SHELL := /bin/sh
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
DEPS := pyproject.toml constraints.txt
LOCAL := $(VENV)/.local.stamp
DEV := $(VENV)/.dev.stamp
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Python compiles what it uses when it uses it; compiling all of it here takes longer than the rest of the installation
export PIP_NO_COMPILE := 1

# refuses a target whose variables were not given
need = $(foreach wanted,$(1),$(if $($(wanted)),,$(error make $@ needs $(wanted)=…; make help shows the whole call)))

$(PY):
	@command -v $(PYTHON) >/dev/null 2>&1 || { echo "Sushu needs Python 3.11 or later and found no '$(PYTHON)'. Install it, or say which one: make PYTHON=/path/to/python3 …" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Sushu needs Python 3.11 or later; '$(PYTHON)' is $$($(PYTHON) -V 2>&1). Install a later one, or say which one: make PYTHON=/path/to/python3.12 …" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "'$(PYTHON)' has no venv module. Debian, Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@echo "Making $(VENV) …" >&2
	@$(PYTHON) -m venv $(VENV)

$(LOCAL): $(DEPS) | $(PY)
	@echo "Installing what Sushu needs (once; one or two minutes) …" >&2
	@$(PY) -m pip install -q -c constraints.txt -e '.[local]'
	@touch $@

$(DEV): $(DEPS) | $(LOCAL)
	@echo "Installing what the tests need (once) …" >&2
	@$(PY) -m pip install -q -c constraints.txt -e '.[local,dev]'
	@touch $@

##@ Run
.PHONY: help setup run up down
help:  ## this list
	@awk 'BEGIN {FS = ":.*## "} /^##@ / {printf "\n%s\n", substr($$0, 5)} /^[a-z0-9-]+:.*## / {printf "  %-16s%s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST)); \
		printf '\nOne bench alone: %s  [transport=kafka] [n=…] [seconds=…]\n' '$(BENCHES:%=make bench-%)'

setup: $(LOCAL)  ## make .venv and install everything (the other targets do it by themselves)

run: $(LOCAL)  ## the whole hub on this machine, with a demo city and a stream of demo appeals; Ctrl-C ends it
	@exec $(PY) -m deploy.local run

up: $(LOCAL)  ## the same services as separate processes on Apache Kafka behind a gateway (Java 17)
	@exec $(PY) -m deploy.local up

down: $(LOCAL)  ## stop what `make up` started; clean=1 also deletes the data
	@exec $(PY) -m deploy.local down $(if $(clean),--clean)

##@ Develop
.PHONY: test test-unit test-kafka test-s3 test-chaos test-unhappy test-federation test-simulation rehearsal check new-service new-rule
test: $(DEV)  ## every test, most in two lanes; the Kafka part is skipped, loudly, where Java is missing
	@$(PY) -m tools.lanes

test-unit: $(DEV)  ## the quick tests that need no server
	@$(PY) -m pytest tests/unit

test-kafka: $(DEV)  ## the tests that need Apache Kafka
	@$(PY) -m deploy.local.kafka --check
	@$(PY) -m pytest -m kafka

test-s3: $(DEV)  ## the stores of files, also on a real server that speaks S3 (needs Go, which builds it once)
	@command -v versitygw >/dev/null || test -x $(VENV)/bin/versitygw || GOBIN=$(CURDIR)/$(VENV)/bin go install github.com/versity/versitygw/cmd/versitygw@v1.8.0
	@PATH="$(CURDIR)/$(VENV)/bin:$$PATH" $(PY) -m pytest tests/contract/stores

test-chaos: $(DEV)  ## nothing lost, nothing twice, under kills of everything (20 min) [rounds=N] [transport=embedded] [seed=N]
	@$(PY) -m tests.chaos $(foreach word,rounds transport seed rate only,$(if $($(word)),'$(word)=$($(word))'))

test-unhappy: $(DEV)  ## second handling under kill -9, three unhappy citizens on each order (5 min) [n=20] [seed=N]
	@$(PY) -m tests.chaos.unhappy $(foreach word,n seed,$(if $($(word)),'$(word)=$($(word))'))

test-federation: $(DEV)  ## three platforms hand cases over while lines break and one is killed (20 min) [n=2000] [rate=50] [down=600] [seed=1]
	@$(PY) -m tests.federation $(foreach word,n rate down seed,$(if $($(word)),'$(word)=$($(word))'))

test-simulation: $(DEV)  ## the runtime in 100,000 schedules, each chosen by its seed [schedules=N] [seed=N] [processes=N] [trace=1]
	@$(PY) -m tests.simulation schedules=$(or $(schedules),100000) processes=$(or $(processes),4) $(if $(seed),seed=$(seed)) $(if $(trace),trace=$(trace) processes=1)

rehearsal: $(DEV)  ## whole lives of n=10000 cases in a simulated year, judged by an independent calculation [stacks=2] [days=365] [start=2026-01-01] [seed=1]
	@$(PY) -m tests.rehearsal n=$(or $(n),10000) stacks=$(or $(stacks),2) $(foreach word,days start seed,$(if $($(word)),'$(word)=$($(word))'))

check: $(DEV)  ## format, types, import rules, freshness of generated files: what CI checks beside the tests
	@$(PY) -m tools.check

new-service: $(DEV)  ## write a consumer service of your own that works at once: name=rain [segment=rain-days]
	@$(call need,name)$(PY) -m tools.new_service '$(name)' $(if $(segment),--segment '$(segment)')

new-rule: $(DEV)  ## write a routing rule of your own that works at once, with its tests: name=school_zone [into=DIR]
	@$(call need,name)$(PY) -m tools.new_rule '$(name)' $(if $(into),--into '$(into)')

# one target for each file of tests/bench whose first line says `bench-<name>: …`
BENCHES := $(subst _,-,$(patsubst tests/bench/%.py,%,$(shell grep -ls '^"""bench-' tests/bench/*.py)))
.PHONY: bench generate $(BENCHES:%=bench-%)
bench: $(LOCAL)  ## every bench, one after the other; each ends with one JSON object [transport=kafka]
	@for name in $(BENCHES); do $(PY) -m tests.bench.$$(echo $$name | tr - _) $(if $(transport),transport=$(transport)) || exit 1; done

$(BENCHES:%=bench-%): bench-%: $(LOCAL)
	@$(PY) -m tests.bench.$(subst -,_,$*) $(if $(transport),transport=$(transport)) $(if $(n),n=$(n)) $(if $(seconds),seconds=$(seconds)) \
		$(foreach word,history folder rate users warm pairs due small growth empty seed kill data config only text date same number district address home through,$(if $($(word)),$(word)=$($(word))))

generate: $(LOCAL)  ## write docs/generated anew from the event catalog
	@$(PY) -m tools.generate

##@ Data and operation
.PHONY: feed seed corrections train evaluate reconcile rebuild dlt
feed: $(LOCAL)  ## send another platform's export through the running hub: file=F mapping=M [rate=N a second]
	@$(call need,file mapping)$(PY) -m tools.feed --file '$(file)' --mapping '$(mapping)' $(if $(rate),--rate '$(rate)') $(if $(url),--url '$(url)')

seed: $(LOCAL)  ## write a history of N invented cases into the running hub: n=N [seed=1] [months=12] [journal=MONTHS] [force=yes]
	@$(call need,n)$(PY) -m tools.seed n='$(n)' $(if $(seed),seed='$(seed)') $(if $(months),months='$(months)') $(if $(journal),journal='$(journal)') $(if $(force),force='$(force)')

corrections: $(LOCAL)  ## write what persons decided in the running hub, for `make train`: out=F
	@$(call need,out)$(PY) -m deploy.local.operate corrections '$(out)'

train: $(LOCAL)  ## train a classifier: data=F text=COL label=COL [date=COL since=DAY until=DAY] [min_count=N] [config=fast|best] [tags=COL] [corrections=F] out=DIR
	@$(call need,data text label out)$(PY) -m tools.train --data '$(data)' --text '$(text)' --label '$(label)' $(if $(date),--date '$(date)') $(if $(since),--since '$(since)') $(if $(until),--until '$(until)') $(if $(tags),--tags '$(tags)') $(if $(corrections),--corrections '$(corrections)') $(if $(min_count),--min-count '$(min_count)') $(if $(config),--config '$(config)') --out '$(out)'

evaluate: $(LOCAL)  ## measure one: model=DIR data=F text=COL label=COL [date=COL since=DAY until=DAY] predictions=OUT
	@$(call need,model data text label predictions)$(PY) -m tools.evaluate --model '$(model)' --data '$(data)' --text '$(text)' --label '$(label)' $(if $(date),--date '$(date)') $(if $(since),--since '$(since)') $(if $(until),--until '$(until)') --predictions '$(predictions)'

reconcile: $(LOCAL)  ## compare every service's tables with the event log; 0 differences is well
	@$(PY) -m deploy.local.operate reconcile

rebuild: $(LOCAL)  ## count a published month again from the event log: month=YYYY-MM [database=URL of another, empty one] [journal=FILE]
	@$(call need,month)$(if $(database),DATABASE_URL='$(database)' $(PY) -m services.evaluate rebuild '$(month)' $(if $(journal),--journal '$(journal)'),$(PY) -m deploy.local.operate rebuild '$(month)')

dlt: $(LOCAL)  ## dead letters: list, or service=NAME id=N do=replay|discard [value=EDITED.json]
	@$(PY) -m deploy.local.operate dlt $(if $(id),'$(service)' '$(id)' '$(do)' $(value))

##@ Deploy
.PHONY: k8s-render k8s-check image
k8s-render: $(LOCAL)  ## print the Kubernetes manifests of env=local-kafka or env=production
	@$(call need,env)$(PY) -m tools.k8s render '$(env)'

k8s-check: $(DEV)  ## validate every overlay strictly and offline (these two need kubectl or kustomize)
	@$(PY) -m tools.k8s check

image:  ## build the one container image of all services [tag=sushu:0.1.0]
	@deploy/docker/build.sh $(tag)

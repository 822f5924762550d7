# m2m-operator. `make help` lists the targets. What is fetched are Go modules, and, where they can be had, the release
# binaries of a control plane to test on.
SHELL := /usr/bin/env bash -o pipefail
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

BIN := bin
TOOL := go -C hack/tools tool
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X github.com/m2m-operator/m2m-operator/internal/version.Version=$(VERSION)

.PHONY: help
help: ## List the targets
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z-]+:.*## / {printf "  %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ For users

.PHONY: demo
demo: $(if $(filter-out 0 false,$(CLUSTER)),cluster-possible images-here) build assets ## The main job, end to end, on a control plane of its own; CLUSTER=1: in pods (KEEP=1 leaves it running)
	@KUBEBUILDER_ASSETS="$$(hack/kubernetes/assets.sh)" $(BIN)/demo

.PHONY: cluster-possible
cluster-possible:
	@hack/cluster/cluster.sh supported

.PHONY: images-here
images-here:
	@$(MAKE) image image-demo ARCHES=$$(go env GOARCH)

.PHONY: demo-stop
demo-stop: ## End what `make demo KEEP=1` left running
	@go run ./hack/demo stop

.PHONY: controlplane
controlplane: assets ## Leave a kube-apiserver and etcd with the CRDs running; prints its KUBECONFIG
	@go build -o $(BIN)/controlplane ./hack/controlplane/run
	@KUBEBUILDER_ASSETS="$$(hack/kubernetes/assets.sh)" hack/controlplane/background.sh start

.PHONY: controlplane-stop
controlplane-stop: ## End what `make controlplane` left running
	@hack/controlplane/background.sh stop

##@ For releases

RELEASE_IMAGE ?= localhost/m2m-operator
PLATFORMS ?= linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64
# A chart's version is a semantic one. Of a commit that no tag leads to there is only its name.
CHART_VERSION = $(shell echo '$(VERSION:v%=%)' | sed -E '/^[0-9]+\.[0-9]+\.[0-9]+/!s/^/0.0.0-g/')
RELEASE = CHART_VERSION='$(CHART_VERSION)' VERSION='$(VERSION)' CREATED='$(CREATED)' REVISION='$(REVISION)' RELEASE_IMAGE='$(RELEASE_IMAGE)' ARCHES='$(ARCHES)' PLATFORMS='$(PLATFORMS)'

.PHONY: release
release: ## Binaries, image, chart, manifests, SBOM and checksums of VERSION (from git) into dist/
	@$(RELEASE) hack/release.sh dist
	@ls dist

.PHONY: release-check
release-check: ## Release twice, from two directories, and compare the bytes
	@go -C hack/release vet ./... && go -C hack/release test ./...
	@$(RELEASE) hack/release-check.sh

.PHONY: chart
chart: ## Pack the Helm chart into dist/, for the image RELEASE_IMAGE:VERSION
	@mkdir -p dist
	@go -C hack/helm run . package -version '$(CHART_VERSION)' -app-version '$(VERSION)' -repository '$(RELEASE_IMAGE)' -o $(CURDIR)/dist

##@ For developers

.PHONY: build
build: ## Build all binaries into bin/
	@mkdir -p $(BIN)
	@echo "building bin/m2m-manager bin/m2m-issuer bin/kubectl-m2m bin/demo bin/course-api bin/publisher ($(VERSION))"
	@CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN)/m2m-manager ./cmd/manager
	@CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN)/m2m-issuer ./cmd/issuer
	@CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN)/kubectl-m2m ./cmd/kubectl-m2m
	@CGO_ENABLED=0 go build -trimpath -o $(BIN)/ ./hack/demo ./hack/demo/course-api ./hack/demo/publisher

.PHONY: assets
assets: ## Have etcd, kube-apiserver and kubectl at hand (built once, cached outside the checkout)
	@hack/kubernetes/assets.sh >/dev/null

ARCHES ?= amd64 arm64
IMAGE ?= localhost/m2m-operator:dev
CREATED ?= $(shell git log -1 --format=%ct 2>/dev/null || echo 0)
REVISION ?= $(shell git rev-parse HEAD 2>/dev/null)
PACK = go -C hack/image run . -created $(CREATED) -revision '$(REVISION)' $(ARCHES:%=-platform linux/%)
LINUX = $(abspath $(BIN))/linux-{arch}

.PHONY: image
image: ## Pack the container image: bin/m2m-operator-ARCH.tar and, for all ARCHES, bin/m2m-operator.oci.tar
	@for arch in $(ARCHES); do for command in manager issuer; do \
		CGO_ENABLED=0 GOOS=linux GOARCH=$$arch go build -buildvcs=false -trimpath -ldflags '$(LDFLAGS)' \
			-o $(BIN)/linux-$$arch/m2m-$$command ./cmd/$$command || exit 1; done; done
	@$(PACK) -ref '$(IMAGE)' -o $(abspath $(BIN))/m2m-operator \
		-binary m2m-manager=$(LINUX)/m2m-manager -binary m2m-issuer=$(LINUX)/m2m-issuer

.PHONY: image-demo
image-demo: ## Pack the demo's course-api and publisher, each as an image of its own, for pods
	@for arch in $(ARCHES); do CGO_ENABLED=0 GOOS=linux GOARCH=$$arch go build -buildvcs=false -trimpath \
		-o $(BIN)/linux-$$arch/ ./hack/demo/course-api ./hack/demo/publisher || exit 1; done
	@for name in course-api publisher; do $(PACK) -ref localhost/$$name:demo -o $(abspath $(BIN))/$$name \
		-binary $$name=$(LINUX)/$$name || exit 1; done

.PHONY: image-test
image-test: ## Look into the image: contents, static binaries, the same bytes twice
	@go -C hack/image vet ./...
	@go -C hack/image test -count=1 ./...

.PHONY: e2e
e2e: ## The product in real pods on a cluster of its own (Linux, root), or on $KUBECONFIG's with E2E_USE_CURRENT_CLUSTER=1
	@[ "$$E2E_USE_CURRENT_CLUSTER" = 1 ] || hack/cluster/cluster.sh supported
	@$(MAKE) images-here
	@hack/previous-binaries.sh $(abspath $(BIN))/previous-linux-$$(go env GOARCH) $(abspath $(BIN))/linux-$$(go env GOARCH)
	@[ "$$E2E_USE_CURRENT_CLUSTER" = 1 ] || hack/cluster/cluster.sh build
	@E2E_BASE_BINARIES=$(abspath $(BIN))/previous-linux-$$(go env GOARCH) go test -count=1 -tags e2e -v -timeout 25m ./test/e2e

.PHONY: test
test: assets ## All tests, against a real kube-apiserver and etcd
	@mkdir -p $(BIN) && rm -f $(BIN)/propagation.txt
	@KUBEBUILDER_ASSETS="$$(hack/kubernetes/assets.sh)" M2M_PROPAGATION_REPORT=$(CURDIR)/$(BIN)/propagation.txt go test -timeout 20m ./...
	@cat $(BIN)/propagation.txt

FUZZTIME ?= 30s
FUZZPACKAGES ?= ./...

.PHONY: fuzz
fuzz: ## The fuzz tests, one after the other, each for FUZZTIME (30s)
	@hack/fuzz.sh '$(FUZZTIME)' $(FUZZPACKAGES)

.PHONY: interop
interop: assets ## OAuth clients and verifiers that nobody here wrote (Node, Python, curl: installed if absent) on running issuers; the page of kubectl m2m graph in Chromium
	@tools="$$(test/interop/tools.sh)" && export M2M_INTEROP_TOOLS="$$tools" KUBEBUILDER_ASSETS="$$(hack/kubernetes/assets.sh)" && \
		go test -count=1 -tags interop -timeout 10m ./test/interop/...

SOAKTIME ?= 90s
SOAKTIMEOUT ?= 20m

.PHONY: soak
soak: assets ## Outages, standstills, rotation of everything, and an hour's load on an issuer, in six minutes (SOAKTIME=90s: the load); bin/soak.json
	@KUBEBUILDER_ASSETS="$$(hack/kubernetes/assets.sh)" SOAKTIME='$(SOAKTIME)' go test -count=1 -tags soak -v -timeout $(SOAKTIMEOUT) ./test/soak

.PHONY: race
race: assets ## The tests under the race detector
	@KUBEBUILDER_ASSETS="$$(hack/kubernetes/assets.sh)" go test -race -timeout 30m ./internal/... ./test/...

.PHONY: bench
bench: ## What tokens, changes and clients cost beside what the machine makes possible: a table, bin/bench.json, and profiles in bin/
	@mkdir -p $(BIN)
	@go build -o $(BIN)/bench ./test/bench
	@$(BIN)/bench -out $(BIN) $(BENCH)

.PHONY: generate
generate: ## Generate deepcopy functions
	@$(TOOL) controller-gen object:headerFile=/dev/null paths=$(CURDIR)/api/...

.PHONY: manifests
manifests: ## Generate the CRDs
	@$(TOOL) controller-gen crd paths=$(CURDIR)/api/... output:crd:artifacts:config=$(CURDIR)/config/crd/bases

.PHONY: chart-generate
chart-generate: ## Generate the parts of the chart that say what config says
	@go -C hack/helm run . generate

.PHONY: chart-test
chart-test: assets ## The chart: lint, the same objects as config/default, values, installing on a real API server
	@go -C hack/helm vet ./...
	@KUBEBUILDER_ASSETS="$$(hack/kubernetes/assets.sh)" go -C hack/helm test -count=1 ./...

.PHONY: alerts-test
alerts-test: ## Every alert fires when it should, every query of alerts and dashboard asks for what exists
	@go -C hack/alerts vet ./...
	@go -C hack/alerts test -count=1 ./...

.PHONY: api-reference
api-reference: ## Generate docs/reference/api.md from the types
	@$(TOOL) crd-ref-docs --log-level=ERROR --source-path=$(CURDIR)/api/v1alpha1 --config=$(CURDIR)/hack/reference/config.yaml \
		--renderer=markdown --output-path=$(CURDIR)/docs/reference/api.md

GENERATED := api config docs/reference/api.md

.PHONY: reference
reference: ## Generate the reference of kubectl m2m in docs/cli; a test holds it against the commands
	@go test ./internal/cli -run TestReference -update >/dev/null

.PHONY: check-generated
check-generated: generate manifests chart-generate api-reference ## Fail if a generated file is stale
	@test -z "$$(git status --porcelain -- $(GENERATED))" || { git status --short -- $(GENERATED); git diff -- $(GENERATED); echo "Generated files are stale: run 'make generate manifests chart-generate api-reference' and commit."; exit 1; }

LINTER := $(BIN)/golangci-lint
$(LINTER): hack/tools/go.mod hack/tools/go.sum
	@echo "building the linter (a minute or two, once)"
	@go -C hack/tools build -o $(CURDIR)/$(LINTER) sigs.k8s.io/kube-api-linter/cmd/golangci-lint-kube-api-linter

.PHONY: lint
lint: $(LINTER) ## golangci-lint with the architecture's rules and kube-api-linter; manifests build, and stand up to kube-score
	@gofmt -l $$(git ls-files '*.go') | (! grep .) || { echo "gofmt these files"; exit 1; }
	@$(LINTER) run --config hack/golangci.yml --build-tags e2e,interop,soak ./...
	@$(LINTER) run --config hack/golangci-api.yml ./api/...
	@for d in config/crd config/rbac config/default config/gitops/flux config/samples/*/; do $(TOOL) kustomize build $(CURDIR)/$$d >/dev/null || exit 1; done
	@hack/kubescore/score.sh
	@for script in hack/kubernetes/*.sh hack/cluster/*.sh hack/*.sh test/interop/*.sh; do bash -n $$script || exit 1; done
	@go -C hack/helm tool helm lint --strict --quiet $(CURDIR)/config/chart
	@bash -n hack/controlplane/background.sh && bash -n hack/kubescore/score.sh && bash -n .ci/run

.PHONY: vulncheck
vulncheck: ## Look for known vulnerabilities (needs the vulnerability database)
	@$(TOOL) govulncheck -C $(CURDIR) ./...

.PHONY: clean
clean: demo-stop controlplane-stop ## End what is running, and remove bin/ and dist/
	@rm -rf $(BIN) dist

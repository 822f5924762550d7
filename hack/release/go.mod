module github.com/m2m-operator/m2m-operator/hack/release

go 1.26.0

require github.com/CycloneDX/cyclonedx-go v0.12.0

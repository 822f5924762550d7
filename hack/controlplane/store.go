package controlplane

// Store is the URL of the etcd behind the API server, which answers everybody on this machine. What is put into it, the
// API server serves as if it had been restored from a backup: nothing has been admitted, filled in or validated.
func (cp *ControlPlane) Store() string { return cp.plane.Etcd.URL.String() }

"""Tests of the live cluster: against a real kube-apiserver with etcd, and against a server that misbehaves on cue."""

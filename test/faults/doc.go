// Package faults tests what becomes of credentials when managers die between two writes, work beside each other, meet
// what others have tampered with, or find what a backup has brought back. All of it is on a real API server.
package faults

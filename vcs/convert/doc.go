// Package convert makes model files of one container from those of any other: which tensors go where and in which element kind is planned first, then each
// output is streamed in bounded memory. What is written depends on nothing but the tensors and the options: the same bytes on every run.
//
// It opens and names no files: that is the caller's. A Plan is used by one goroutine.
package convert

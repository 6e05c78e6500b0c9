// Package diff compares two trees of files tensor by tensor: what was added, removed, renamed, reshaped, recast or changed, and how far.
//
// Vocabulary. A Tree is one side: a commit, a live tree, or what lies on the disk outside the repository. The old side is a,
// the new one b. A tensor's content key is what its bytes are known by without reading them: the blobs that the file's
// manifest puts there. A pair is a tensor of each side that are compared; Figures say how far they are apart.
//
// A run (run.go) goes through these steps: files are paired by path (walk.go) and by content (rename.go); the tensors of paired files by
// name, what is left by content and then by name over all files (match.go); pairs whose keys are equal are equal and not read; the others
// are streamed once, in chunks, by as many workers as there are processors (measure.go), and summed by layer (layer.go). While
// they stream, a sample of the difference of each matrix is kept, which tells low-rank updates (rank.go). soup.go tells averages of
// other files from samples.
//
// Figures. All arithmetic is float64, in a fixed order, so that the same bytes give the same figures on every run. Elements that are NaN or
// infinite on either side are counted and left out of sums and distances. An element counts as changed if its bits differ.
//
// Memory: the tensor tables of the files that differ (at most MaxTensors rows a side), and a few MiB a worker. A Tree must be safe for concurrent use. Nothing is written.
package diff

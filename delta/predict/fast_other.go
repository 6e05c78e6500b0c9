//go:build !amd64 || purego

package predict

// fast predicts the first elements and returns how many: none here.
func (p *Predictor) fast(dst, base []byte) int { return 0 }

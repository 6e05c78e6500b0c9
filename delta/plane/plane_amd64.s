//go:build !purego

#include "textflag.h"

// 16 elements a turn. Plain version: plainSplit in plane_test.go. n is a positive multiple of 16.

// MASKS sets Y13, Y14, Y15 to 16 words of 0x8000, 0x007f, 0x00ff.
#define MASKS \
	VPCMPEQW Y15, Y15, Y15; \
	VPSLLW   $15, Y15, Y13; \
	VPSRLW   $9, Y15, Y14;  \
	VPSRLW   $8, Y15, Y15

// TOPS makes 16 tops in Y0 of exponent bytes at (SI) and sign bytes at (DX).
#define TOPS \
	VPMOVZXBW (SI), Y0;     \
	VPMOVZXBW (DX), Y1;     \
	VPSLLW    $7, Y0, Y0;   \
	VPSLLW    $8, Y1, Y2;   \
	VPAND     Y13, Y2, Y2;  \
	VPAND     Y14, Y1, Y1;  \
	VPOR      Y2, Y0, Y0;   \
	VPOR      Y1, Y0, Y0

// PLANES writes the exponent bytes of the 16 tops in Y0 to (DI) and their sign bytes to (DX).
#define PLANES \
	VPSRLW       $7, Y0, Y1;       \
	VPAND        Y15, Y1, Y1;      \
	VPAND        Y13, Y0, Y2;      \
	VPSRLW       $8, Y2, Y2;       \
	VPAND        Y14, Y0, Y0;      \
	VPOR         Y2, Y0, Y0;       \
	VPACKUSWB    Y0, Y1, Y1;       \
	VPERMQ       $0xD8, Y1, Y1;    \
	VMOVDQU      X1, (DI);         \
	VEXTRACTI128 $1, Y1, (DX)

// func split16AVX2(e, s, src *byte, n int)
TEXT ·split16AVX2(SB), NOSPLIT, $0-32
	MOVQ e+0(FP), DI
	MOVQ s+8(FP), DX
	MOVQ src+16(FP), SI
	MOVQ n+24(FP), CX
	MASKS

split16:
	VMOVDQU (SI), Y0
	PLANES
	ADDQ    $32, SI
	ADDQ    $16, DI
	ADDQ    $16, DX
	SUBQ    $16, CX
	JNZ     split16
	VZEROUPPER
	RET

// func merge16AVX2(dst, e, s *byte, n int)
TEXT ·merge16AVX2(SB), NOSPLIT, $0-32
	MOVQ dst+0(FP), DI
	MOVQ e+8(FP), SI
	MOVQ s+16(FP), DX
	MOVQ n+24(FP), CX
	MASKS

merge16:
	TOPS
	VMOVDQU Y0, (DI)
	ADDQ    $16, SI
	ADDQ    $16, DX
	ADDQ    $32, DI
	SUBQ    $16, CX
	JNZ     merge16
	VZEROUPPER
	RET

// func split32AVX2(e, s, low, src *byte, n int)
TEXT ·split32AVX2(SB), NOSPLIT, $0-40
	MOVQ e+0(FP), DI
	MOVQ s+8(FP), DX
	MOVQ low+16(FP), BX
	MOVQ src+24(FP), SI
	MOVQ n+32(FP), CX
	MASKS
	VPXOR Y12, Y12, Y12

split32:
	VMOVDQU   (SI), Y3
	VMOVDQU   32(SI), Y4
	VPBLENDW  $0x55, Y3, Y12, Y5 // the low words of the elements, zero-extended
	VPBLENDW  $0x55, Y4, Y12, Y6
	VPACKUSDW Y6, Y5, Y5
	VPERMQ    $0xD8, Y5, Y5
	VMOVDQU   Y5, (BX)
	VPSRLD    $16, Y3, Y3
	VPSRLD    $16, Y4, Y4
	VPACKUSDW Y4, Y3, Y0
	VPERMQ    $0xD8, Y0, Y0
	PLANES
	ADDQ      $64, SI
	ADDQ      $32, BX
	ADDQ      $16, DI
	ADDQ      $16, DX
	SUBQ      $16, CX
	JNZ       split32
	VZEROUPPER
	RET

// func merge32AVX2(dst, e, s, low *byte, n int)
TEXT ·merge32AVX2(SB), NOSPLIT, $0-40
	MOVQ dst+0(FP), DI
	MOVQ e+8(FP), SI
	MOVQ s+16(FP), DX
	MOVQ low+24(FP), BX
	MOVQ n+32(FP), CX
	MASKS

merge32:
	TOPS
	VPERMQ     $0xD8, Y0, Y0   // so that the unpacked halves are in order
	VPERMQ     $0xD8, (BX), Y1
	VPUNPCKLWD Y0, Y1, Y2
	VPUNPCKHWD Y0, Y1, Y3
	VMOVDQU    Y2, (DI)
	VMOVDQU    Y3, 32(DI)
	ADDQ       $16, SI
	ADDQ       $16, DX
	ADDQ       $32, BX
	ADDQ       $64, DI
	SUBQ       $16, CX
	JNZ        merge32
	VZEROUPPER
	RET

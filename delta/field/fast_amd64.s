//go:build !purego

#include "textflag.h"

// Plain version: exponentsGroup. Y8 to Y14 hold bytes of 0x3f, window − 1, 0x60, 0x0f, 0x10, 0x80 and 0.

// TOPS makes 32 exponents at off(DI) and sign planes at off(DX) of the symbols at off(SI), bits 0–3 of the rests in Y4
// and bit 4 and sign in bits 4 and 7 of Y5 and Y6.
#define TOPS(off) \
	VMOVDQU  off(SI), Y0;     \
	VPSRLW   $2, Y0, Y1;      \
	VPAND    Y8, Y1, Y1;      \
	VPCMPEQB Y14, Y1, Y2;     \
	VPANDN   Y9, Y2, Y2;      \
	VPADDB   Y2, Y1, Y1;      \
	VMOVDQU  Y1, off(DI);     \
	VPSLLW   $5, Y0, Y0;      \
	VPAND    Y10, Y0, Y0;     \
	VPAND    Y11, Y4, Y4;     \
	VPOR     Y4, Y0, Y0;      \
	VPAND    Y12, Y5, Y5;     \
	VPOR     Y5, Y0, Y0;      \
	VPAND    Y13, Y6, Y6;     \
	VPOR     Y6, Y0, Y0;      \
	VMOVDQU  Y0, off(DX)

// func exponentsAVX2(e, s, symbols, rests *byte, add uint8, groups int)
TEXT ·exponentsAVX2(SB), NOSPLIT, $0-48
	MOVQ e+0(FP), DI
	MOVQ s+8(FP), DX
	MOVQ symbols+16(FP), SI
	MOVQ rests+24(FP), BX
	MOVQ groups+40(FP), CX
	VPBROADCASTB add+32(FP), Y9
	VPXOR    Y14, Y14, Y14
	VPCMPEQB Y15, Y15, Y15
	VPABSB   Y15, Y15            // 1
	VPSLLW   $4, Y15, Y12        // 0x10
	VPSLLW   $7, Y15, Y13        // 0x80
	VPSUBB   Y15, Y12, Y11       // 0x0f
	VPSLLW   $6, Y15, Y8
	VPSUBB   Y15, Y8, Y8         // 0x3f
	VPSLLW   $5, Y15, Y10
	VPADDB   Y10, Y10, Y0
	VPOR     Y0, Y10, Y10        // 0x60

turn:
	VMOVDQU     (BX), Y4
	VMOVDQU     32(BX), X7       // pairs of bits of elements j, j + 16, j + 32, j + 48
	VPSRLW      $2, X7, X6
	VINSERTI128 $1, X6, Y7, Y7   // of elements 0–31 in bits 0 and 1, of 32–63 in bits 4 and 5
	VPSLLW      $4, Y7, Y5
	VPSLLW      $6, Y7, Y6
	VMOVDQU     Y4, Y3
	TOPS(0)
	VPSRLW      $4, Y3, Y4
	VMOVDQU     Y7, Y5
	VPSLLW      $2, Y7, Y6
	TOPS(32)
	ADDQ        $64, DI
	ADDQ        $64, DX
	ADDQ        $64, SI
	ADDQ        $48, BX
	DECQ        CX
	JNZ         turn
	VZEROUPPER
	RET

//go:build !purego

#include "textflag.h"

// Plain version: Table.decode. Y0 and Y1 hold the states of lanes 0–7 and 8–15.

// REFILL gives the lanes of X whose state is below 65536 the next words at (SI), in order of lanes.
#define REFILL(X) \
	VPSRLD     $16, X, Y10;          \
	VPCMPEQD   Y14, Y10, Y10;        \
	VMOVMSKPS  Y10, AX;              \
	VPMOVZXWD  (SI), Y11;            \
	VPMOVZXBD  (R9)(AX*8), Y12;      \
	VPERMD     Y11, Y12, Y11;        \
	VPSLLD     $16, X, Y13;          \
	VPOR       Y11, Y13, Y13;        \
	VPBLENDVB  Y10, Y13, X, X;       \
	POPCNTL    AX, AX;               \
	LEAQ       (SI)(AX*2), SI

// func decodeAVX2(dst, words *byte, length int, slot, state *uint32, takes *uint8, turns int) (done, read int)
TEXT ·decodeAVX2(SB), NOSPLIT, $0-72
	MOVQ    dst+0(FP), DI
	MOVQ    words+8(FP), SI
	MOVQ    length+16(FP), DX
	MOVQ    slot+24(FP), R8
	MOVQ    state+32(FP), R10
	MOVQ    takes+40(FP), R9
	MOVQ    turns+48(FP), CX
	MOVQ    SI, R11
	LEAQ    -32(SI)(DX*1), DX
	VMOVDQU (R10), Y0
	VMOVDQU 32(R10), Y1
	VPCMPEQD Y15, Y15, Y15
	VPSRLD  $20, Y15, Y15       // 4095
	VPXOR   Y14, Y14, Y14

turn:
	CMPQ       SI, DX
	JHI        end
	TESTQ      CX, CX
	JZ         end
	VPAND      Y15, Y0, Y2
	VPAND      Y15, Y1, Y3
	VPCMPEQD   Y4, Y4, Y4
	VPCMPEQD   Y5, Y5, Y5
	VPXOR      Y6, Y6, Y6
	VPXOR      Y7, Y7, Y7
	VPGATHERDD Y4, (R8)(Y2*4), Y6
	VPGATHERDD Y5, (R8)(Y3*4), Y7
	VPSRLD     $12, Y0, Y0
	VPSRLD     $12, Y1, Y1
	VPSRLD     $12, Y6, Y8
	VPSRLD     $12, Y7, Y9
	VPAND      Y15, Y8, Y8
	VPAND      Y15, Y9, Y9
	VPMULLD    Y8, Y0, Y0
	VPMULLD    Y9, Y1, Y1
	VPAND      Y15, Y6, Y8
	VPAND      Y15, Y7, Y9
	VPADDD     Y8, Y0, Y0
	VPADDD     Y9, Y1, Y1
	REFILL(Y0)
	REFILL(Y1)
	VPSRLD     $24, Y6, Y6
	VPSRLD     $24, Y7, Y7
	VPACKUSDW  Y7, Y6, Y6
	VPERMQ     $0xD8, Y6, Y6
	VEXTRACTI128 $1, Y6, X7
	VPACKUSWB  X7, X6, X6
	VMOVDQU    X6, (DI)
	ADDQ       $16, DI
	DECQ       CX
	JMP        turn

end:
	VMOVDQU Y0, (R10)
	VMOVDQU Y1, 32(R10)
	VZEROUPPER
	MOVQ    turns+48(FP), AX
	SUBQ    CX, AX
	MOVQ    AX, done+56(FP)
	SUBQ    R11, SI
	MOVQ    SI, read+64(FP)
	RET

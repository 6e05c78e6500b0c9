//go:build !purego

#include "go_asm.h"
#include "textflag.h"

// Plain versions: Predictor.applySteps, applyScale and applyLerp, which do one element at a time.

// func stepsAVX2(dst, base *byte, n int, bins *[1 << binLog]uint32, up uint32)
// 8 elements a turn; n is a positive multiple of 8.
TEXT ·stepsAVX2(SB), NOSPLIT, $0-36
	MOVQ         dst+0(FP), DI
	MOVQ         base+8(FP), SI
	MOVQ         n+16(FP), CX
	MOVQ         bins+24(FP), BX
	VPCMPEQD     Y15, Y15, Y15
	MOVL         up+32(FP), AX
	VMOVD        AX, X14
	VPBROADCASTD X14, Y14
	VPXOR        Y15, Y14, Y14   // all ones if magnitudes shrink
	VPSRLD       $20, Y15, Y13   // 12 bits: which bin
	VPSRLD       $21, Y15, Y12   // 11 low bits
	VPSRLD       $23, Y15, Y11   // 9 bits: size of the step
	VPSRLD       $24, Y15, Y10
	VPSLLD       $23, Y10, Y10   // exponent
	VPXOR        Y9, Y9, Y9

steps:
	VMOVDQU    (SI), Y0
	VPSRLD     $11, Y0, Y1
	VPAND      Y13, Y1, Y1
	VMOVDQA    Y15, Y2
	VPGATHERDD Y2, (BX)(Y1*4), Y3
	VPAND      Y12, Y3, Y4       // where the step is
	VPAND      Y12, Y0, Y5
	VPCMPGTD   Y5, Y4, Y4        // before the step
	VPSRLD     $11, Y3, Y5
	VPAND      Y11, Y5, Y5
	VPANDN     Y5, Y4, Y5
	VPSRLD     $20, Y3, Y3
	VPADDD     Y5, Y3, Y3        // units
	VPAND      Y10, Y0, Y4
	VPCMPEQD   Y9, Y4, Y4        // zeros and denormals
	VPANDN     Y3, Y4, Y3
	VPXOR      Y14, Y3, Y3
	VPSUBD     Y14, Y3, Y3
	VPADDD     Y3, Y0, Y0
	VMOVDQU    Y0, (DI)
	ADDQ       $32, SI
	ADDQ       $32, DI
	SUBQ       $8, CX
	JNZ        steps
	VZEROUPPER
	RET

// LOAD and STORE: 64 elements in Y0 to Y7, since each is a chain of n operations that others fill the gaps of.
#define LOAD \
	VMOVUPS (SI), Y0;    \
	VMOVUPS 32(SI), Y1;  \
	VMOVUPS 64(SI), Y2;  \
	VMOVUPS 96(SI), Y3;  \
	VMOVUPS 128(SI), Y4; \
	VMOVUPS 160(SI), Y5; \
	VMOVUPS 192(SI), Y6; \
	VMOVUPS 224(SI), Y7

// STORE writes Y to AT(DI): the one NaN in Y14 for all NaNs, the base itself where it is a zero (Y13 is 0).
#define STORE(Y, AT) \
	VCMPPS    $3, Y, Y, Y9;         \
	VBLENDVPS Y9, Y14, Y, Y;        \
	VMOVUPS   AT(SI), Y10;          \
	VCMPPS    $0, Y13, Y10, Y9;     \
	VBLENDVPS Y9, Y10, Y, Y;        \
	VMOVUPS   Y, AT(DI)

#define STORES \
	STORE(Y0, 0);   \
	STORE(Y1, 32);  \
	STORE(Y2, 64);  \
	STORE(Y3, 96);  \
	STORE(Y4, 128); \
	STORE(Y5, 160); \
	STORE(Y6, 192); \
	STORE(Y7, 224)

// CONSTANTS sets Y13 to 0 and Y14 to canonical's NaN. Y12 is c.
#define CONSTANTS \
	VPCMPEQD     Y14, Y14, Y14; \
	VPSRLD       $23, Y14, Y14; \
	VPSLLD       $22, Y14, Y14; \
	VXORPS       Y13, Y13, Y13

// func scaleAVX2(dst, base *byte, n int, c float32, times int)
// 64 elements a turn; n is a positive multiple of 64.
TEXT ·scaleAVX2(SB), NOSPLIT, $0-40
	MOVQ         dst+0(FP), DI
	MOVQ         base+8(FP), SI
	MOVQ         n+16(FP), CX
	VBROADCASTSS c+24(FP), Y12
	CONSTANTS

scale:
	LOAD
	MOVQ times+32(FP), DX

scaleOnce:
	VMULPS Y12, Y0, Y0
	VMULPS Y12, Y1, Y1
	VMULPS Y12, Y2, Y2
	VMULPS Y12, Y3, Y3
	VMULPS Y12, Y4, Y4
	VMULPS Y12, Y5, Y5
	VMULPS Y12, Y6, Y6
	VMULPS Y12, Y7, Y7
	DECQ   DX
	JNZ    scaleOnce
	STORES
	ADDQ   $256, SI
	ADDQ   $256, DI
	SUBQ   $64, CX
	JNZ    scale
	VZEROUPPER
	RET

// func lerpAVX2(dst, base *byte, n int, c float32, times int)
// 64 elements a turn; n is a positive multiple of 64.
TEXT ·lerpAVX2(SB), NOSPLIT, $0-40
	MOVQ         dst+0(FP), DI
	MOVQ         base+8(FP), SI
	MOVQ         n+16(FP), CX
	VBROADCASTSS c+24(FP), Y12
	CONSTANTS

lerp:
	LOAD
	MOVQ times+32(FP), DX

lerpOnce:
	VFNMADD213PS Y0, Y12, Y0
	VFNMADD213PS Y1, Y12, Y1
	VFNMADD213PS Y2, Y12, Y2
	VFNMADD213PS Y3, Y12, Y3
	VFNMADD213PS Y4, Y12, Y4
	VFNMADD213PS Y5, Y12, Y5
	VFNMADD213PS Y6, Y12, Y6
	VFNMADD213PS Y7, Y12, Y7
	DECQ         DX
	JNZ          lerpOnce
	STORES
	ADDQ         $256, SI
	ADDQ         $256, DI
	SUBQ         $64, CX
	JNZ          lerp
	VZEROUPPER
	RET

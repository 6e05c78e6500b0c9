//go:build !purego

#include "go_asm.h"
#include "textflag.h"

// A group of 64 elements in two passes. Finding the codes is a chain of look-ups for each lane, which needs no more of a symbol than its
// entry's low byte, the bits used up: so the first pass keeps entries and words. The second makes elements of them,
// 8 at a time. Benchmark: BenchmarkDecode; plain version: lanes.plain.

// CODE finds the next code of the lane at bit P, for the element at base+I*4.
//	DX base, BX t.ctx, DI t.code, SI buf, R12 words, R13 entries
#define CODE(P, I) \
	MOVL    (I*4)(DX), AX;    \
	SHRL    $23, AX;          \
	MOVWLZX (BX)(AX*2), AX;   \
	MOVQ    P, R14;           \
	SHRQ    $3, R14;          \
	MOVQ    (SI)(R14*1), R15; \
	MOVL    P, R14;           \
	ANDL    $7, R14;          \
	SHRXQ   R14, R15, R15;    \
	MOVQ    R15, (I*8)(R12);  \
	ANDL    $2047, R15;       \
	ADDL    R15, AX;          \
	MOVWLZX (DI)(AX*2), AX;   \
	MOVW    AX, (I*2)(R13);   \
	MOVBLZX AX, AX;           \
	ADDQ    AX, P

// func group32AVX2(r *lanes, t *Table, dst, base *[4 * groupLen]byte, buf *[bufMask + 9]byte, tmp *scratch32)
TEXT ·group32AVX2(SB), NOSPLIT, $0-48
	MOVQ r+0(FP), AX
	MOVQ 0(AX), R8
	MOVQ 8(AX), R9
	MOVQ 16(AX), R10
	MOVQ 24(AX), R11
	MOVQ t+8(FP), BX
	LEAQ Table_code(BX), DI
	LEAQ Table_ctx(BX), BX
	MOVQ base+24(FP), DX
	MOVQ buf+32(FP), SI
	MOVQ tmp+40(FP), R12
	LEAQ const_entriesAt(R12), R13
	MOVL $16, CX

codes:
	CODE(R8, 0)
	CODE(R9, 1)
	CODE(R10, 2)
	CODE(R11, 3)
	ADDQ $16, DX
	ADDQ $32, R12
	ADDQ $8, R13
	DECL CX
	JNZ  codes

	MOVQ r+0(FP), AX
	MOVQ R8, 0(AX)
	MOVQ R9, 8(AX)
	MOVQ R10, 16(AX)
	MOVQ R11, 24(AX)

	MOVQ         t+8(FP), BX
	MOVQ         dst+16(FP), DI
	MOVQ         base+24(FP), DX
	MOVQ         tmp+40(FP), R12
	LEAQ         const_entriesAt(R12), R13
	VMOVQ        Table_zero(BX), X10
	VPCMPEQD     Y8, Y8, Y8
	VPSRLD       $1, Y8, Y12          // 0x7fffffff
	VPSLLD       X10, Y8, Y11
	VPAND        Y12, Y11, Y11        // without the low zero bits
	VPSRLD       $24, Y8, Y15         // 0xff
	VPSRLD       $31, Y8, Y13         // 1
	VPSLLD       $7, Y13, Y14         // zeroSymbol
	VPXOR        Y9, Y9, Y9
	MOVL         $8, CX

elements:
	VPMOVZXWD    (R13), Y0
	VPAND        Y15, Y0, Y1          // bits used
	VPSRLD       $8, Y0, Y0
	VPSUBD       Y14, Y0, Y0          // symbol, signed
	VPSRAD       $31, Y0, Y2          // -1 where negative
	VPABSD       Y0, Y0               // class
	VPSRLD       $2, Y0, Y3
	VPSUBD       Y13, Y3, Y3
	VPMAXSD      Y9, Y3, Y3           // number of extra bits
	VPSLLD       $2, Y3, Y4
	VPSUBD       Y4, Y0, Y0           // class < 8: class, else 4 + class%4
	VPSLLVD      Y3, Y0, Y0           // least magnitude
	VPSLLVD      Y3, Y13, Y4
	VPSUBD       Y13, Y4, Y4          // mask of the extra bits
	VPSUBD       Y3, Y1, Y1           // length of the code
	VPMOVZXDQ    X1, Y5
	VEXTRACTI128 $1, Y1, X1
	VPMOVZXDQ    X1, Y1
	VMOVDQU      (R12), Y6
	VMOVDQU      32(R12), Y7
	VPSRLVQ      Y5, Y6, Y6
	VPSRLVQ      Y1, Y7, Y7
	VSHUFPS      $0x88, Y7, Y6, Y6
	VPERMQ       $0xD8, Y6, Y6
	VPAND        Y4, Y6, Y6           // extra bits
	VPAND        Y2, Y4, Y4
	VPXOR        Y4, Y6, Y6           // counted down where negative
	VPADDD       Y6, Y0, Y0           // magnitude
	VPXOR        Y2, Y0, Y0
	VPSUBD       Y2, Y0, Y0           // difference
	VPSLLD       X10, Y0, Y0
	VMOVDQU      (DX), Y1             // undiff32
	VPAND        Y12, Y1, Y3
	VPADDD       Y3, Y0, Y0
	VPSRAD       $31, Y0, Y3
	VPAND        Y11, Y3, Y3
	VPXOR        Y3, Y0, Y0
	VPANDN       Y1, Y12, Y1
	VPXOR        Y1, Y0, Y0
	VMOVDQU      Y0, (DI)
	ADDQ         $16, R13
	ADDQ         $64, R12
	ADDQ         $32, DX
	ADDQ         $32, DI
	DECL         CX
	JNZ          elements
	VZEROUPPER
	RET

// PAIR finds two codes of the lane at bit P, for the 16-bit elements at base+I*2 and base+(I+4)*2: both are in the same word, being
// of 24 bits at most.
//	DX base, BX t.ctx, DI t.code, SI buf, R12 words, R13 entries
#define PAIR(P, I) \
	MOVWLZX (I*2)(DX), AX;        \
	SHRL    $7, AX;               \
	MOVWLZX (BX)(AX*2), AX;       \
	MOVQ    P, R14;               \
	SHRQ    $3, R14;              \
	MOVQ    (SI)(R14*1), R15;     \
	MOVL    P, R14;               \
	ANDL    $7, R14;              \
	SHRXQ   R14, R15, R15;        \
	MOVL    R15, (I*4)(R12);      \
	MOVL    R15, R14;             \
	ANDL    $2047, R14;           \
	ADDL    R14, AX;              \
	MOVWLZX (DI)(AX*2), AX;       \
	MOVW    AX, (I*2)(R13);       \
	MOVBLZX AX, AX;               \
	ADDQ    AX, P;                \
	SHRXQ   AX, R15, R15;         \
	MOVL    R15, ((I+4)*4)(R12);  \
	ANDL    $2047, R15;           \
	MOVWLZX ((I+4)*2)(DX), AX;    \
	SHRL    $7, AX;               \
	MOVWLZX (BX)(AX*2), AX;       \
	ADDL    R15, AX;              \
	MOVWLZX (DI)(AX*2), AX;       \
	MOVW    AX, ((I+4)*2)(R13);   \
	MOVBLZX AX, AX;               \
	ADDQ    AX, P

// DIFFS sets Y to 8 differences, from the entries and words from element I on.
#define DIFFS(I, Y) \
	VPMOVZXWD (I*2)(R13), Y;   \
	VPAND     Y15, Y, Y1;      \
	VPSRLD    $8, Y, Y;        \
	VPSUBD    Y14, Y, Y;       \
	VPSRAD    $31, Y, Y2;      \
	VPABSD    Y, Y;            \
	VPSRLD    $2, Y, Y3;       \
	VPSUBD    Y13, Y3, Y3;     \
	VPMAXSD   Y9, Y3, Y3;      \
	VPSLLD    $2, Y3, Y4;      \
	VPSUBD    Y4, Y, Y;        \
	VPSLLVD   Y3, Y, Y;        \
	VPSLLVD   Y3, Y13, Y4;     \
	VPSUBD    Y13, Y4, Y4;     \
	VPSUBD    Y3, Y1, Y1;      \
	VMOVDQU   (I*4)(R12), Y6;  \
	VPSRLVD   Y1, Y6, Y6;      \
	VPAND     Y4, Y6, Y6;      \
	VPAND     Y2, Y4, Y4;      \
	VPXOR     Y4, Y6, Y6;      \
	VPADDD    Y6, Y, Y;        \
	VPXOR     Y2, Y, Y;        \
	VPSUBD    Y2, Y, Y;        \
	VPAND     Y12, Y, Y

// func group16AVX2(r *lanes, t *Table, dst, base *[2 * groupLen]byte, buf *[bufMask + 9]byte, tmp *scratch32)
TEXT ·group16AVX2(SB), NOSPLIT, $0-48
	MOVQ r+0(FP), AX
	MOVQ 0(AX), R8
	MOVQ 8(AX), R9
	MOVQ 16(AX), R10
	MOVQ 24(AX), R11
	MOVQ t+8(FP), BX
	LEAQ Table_code(BX), DI
	LEAQ Table_ctx(BX), BX
	MOVQ base+24(FP), DX
	MOVQ buf+32(FP), SI
	MOVQ tmp+40(FP), R12
	LEAQ const_entriesAt(R12), R13
	MOVL $8, CX

pairs:
	PAIR(R8, 0)
	PAIR(R9, 1)
	PAIR(R10, 2)
	PAIR(R11, 3)
	ADDQ $16, DX
	ADDQ $32, R12
	ADDQ $16, R13
	DECL CX
	JNZ  pairs

	MOVQ r+0(FP), AX
	MOVQ R8, 0(AX)
	MOVQ R9, 8(AX)
	MOVQ R10, 16(AX)
	MOVQ R11, 24(AX)

	MOVQ     dst+16(FP), DI
	MOVQ     base+24(FP), DX
	MOVQ     tmp+40(FP), R12
	LEAQ     const_entriesAt(R12), R13
	VPCMPEQD Y8, Y8, Y8
	VPSRLD   $16, Y8, Y12           // 0xffff
	VPSRLD   $24, Y8, Y15           // 0xff
	VPSRLD   $31, Y8, Y13           // 1
	VPSLLD   $7, Y13, Y14           // zeroSymbol
	VPSRLW   $1, Y8, Y11            // 16 times 0x7fff
	VPXOR    Y9, Y9, Y9
	MOVL     $4, CX

elements16:
	DIFFS(0, Y0)
	DIFFS(8, Y5)
	VPACKUSDW Y5, Y0, Y0
	VPERMQ    $0xD8, Y0, Y0         // differences of 16 bits, in order
	VMOVDQU   (DX), Y1              // undiff16
	VPAND     Y11, Y1, Y3
	VPADDW    Y3, Y0, Y0
	VPSRAW    $15, Y0, Y3
	VPAND     Y11, Y3, Y3
	VPXOR     Y3, Y0, Y0
	VPANDN    Y1, Y11, Y1
	VPXOR     Y1, Y0, Y0
	VMOVDQU   Y0, (DI)
	ADDQ      $32, R13
	ADDQ      $64, R12
	ADDQ      $32, DX
	ADDQ      $32, DI
	DECL      CX
	JNZ       elements16
	VZEROUPPER
	RET

// func symbols32AVX2(idx, val *[groupLen]uint32, raw, base *byte, magnitude uint32, zero uint)
// See Model.symbols32, whose plain loop it is compared with. 8 elements a turn.
TEXT ·symbols32AVX2(SB), NOSPLIT, $0-48
	MOVQ         idx+0(FP), DI
	MOVQ         val+8(FP), DX
	MOVQ         raw+16(FP), SI
	MOVQ         base+24(FP), BX
	MOVL         magnitude+32(FP), AX
	VMOVD        AX, X14
	VPBROADCASTD X14, Y14
	VMOVQ        zero+40(FP), X7
	VPCMPEQD     Y13, Y13, Y13
	VPSLLD       $31, Y13, Y15      // sign
	VPSRLD       $31, Y13, Y12      // 1
	VPSLLD       $2, Y12, Y11       // 4
	VPSRLD       $24, Y13, Y10      // 0xff
	VPSLLD       $7, Y12, Y8        // zeroSymbol
	VPADDD       Y8, Y12, Y9        // 129: the exponent of a float that is 4
	VPSRLD       $1, Y13, Y13       // all but the sign
	MOVL         $8, CX

symbols:
	VMOVDQU   (SI), Y0
	VMOVDQU   (BX), Y1
	VPAND     Y15, Y1, Y2
	VPXOR     Y2, Y0, Y0
	VPSRAD    $31, Y0, Y2
	VPAND     Y14, Y2, Y2
	VPXOR     Y2, Y0, Y0
	VPAND     Y13, Y1, Y2
	VPSUBD    Y2, Y0, Y0
	VPSRAD    X7, Y0, Y0           // difference
	VPSRAD    $31, Y0, Y2          // -1 where negative
	VPABSD    Y0, Y0               // magnitude
	VPOR      Y11, Y0, Y3
	VPSRLD    $1, Y3, Y4
	VPANDN    Y3, Y4, Y3           // highest bit and some others, but none that would be rounded up
	VCVTDQ2PS Y3, Y3
	VPSRLD    $23, Y3, Y3
	VPAND     Y10, Y3, Y3
	VPSUBD    Y9, Y3, Y3           // number of extra bits
	VPSRLVD   Y3, Y0, Y4
	VPSLLD    $2, Y3, Y5
	VPADDD    Y5, Y4, Y4           // class
	VPXOR     Y2, Y4, Y4
	VPSUBD    Y2, Y4, Y4
	VPADDD    Y8, Y4, Y4           // symbol
	VPSRLD    $23, Y1, Y1
	VPAND     Y10, Y1, Y1
	VPSLLD    $8, Y1, Y1
	VPOR      Y4, Y1, Y1
	VMOVDQU   Y1, (DI)
	VPSLLVD   Y3, Y12, Y4
	VPSUBD    Y12, Y4, Y4
	VPXOR     Y2, Y0, Y0
	VPAND     Y4, Y0, Y0           // extra bits, counted down where negative
	VMOVDQU   Y0, (DX)
	ADDQ      $32, SI
	ADDQ      $32, BX
	ADDQ      $32, DI
	ADDQ      $32, DX
	DECL      CX
	JNZ       symbols
	VZEROUPPER
	RET

package main

import (
	"context"

	"github.com/spf13/cobra"

	"coral/internal/service"
)

func newConvertCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "convert SRC DST",
		Short: "Make a model file of another container, or with other dtypes",
		Long: `Write the tensors of SRC as a file of another container. SRC is a file or directory on the disk, or REV[:PATH], :PATH or branches/NAME:PATH in the repository, in any format
that coral knows; of a directory the model in it: its shards if there is an index, else its one file of weights. The name of DST says what is written:
.safetensors, .pt (also .pth, .bin, .ckpt: what plain torch.load reads), .npz or .gguf; or --to does. Into a directory goes model.safetensors.
Only tensors are taken over, under their names, and the metadata of safetensors and from GGUF to GGUF (the tokenizer too); objects in a pickle are not.

--dtype casts floats, rounding once to the nearest; integers stay. With gguf, vectors stay F32, and matrices whose rows are no multiple of 32 become F16 in place
of Q8_0, as llama.cpp's converters do it. --max-shard-size (a power of 1024: 5G) divides safetensors into model-00001-of-00003.safetensors and so on, with
an index, as transformers does. Files appear when all is written; the bytes are the same on every run. Files on the disk need no repository.`,
		Example: `  coral convert main:checkpoint-500/optimizer.pt optimizer.safetensors
  coral convert v1:checkpoint-500 model-q8.gguf --dtype q8_0
  coral convert pytorch_model.bin model.safetensors --dtype bf16 --max-shard-size 2G`,
	}
	v := service.Find("convert")
	req := v.New().(*service.ConvertRequest)
	req.Flags(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := req.SetArgs(args); err != nil {
			return err
		}
		if err := req.Localize(); err != nil {
			return err
		}
		if req.OnDisk {
			return convertDisk(cmd.Context(), a, req)
		}
		return run(cmd.Context(), a, v, req, args, printConvert)
	}
	return cmd
}

// convertDisk converts files of the disk in this process: no repository is needed, and a mount may be read and written.
func convertDisk(ctx context.Context, a *app, req *service.ConvertRequest) error {
	progress, done := a.progress()
	res, err := service.ConvertDisk(ctx, req, progress)
	done()
	if err != nil {
		return err
	}
	return a.result(res, func(p *printer) { _ = printConvert(p, req, *res) }) // it has no errors of its own
}

func printConvert(p *printer, _ service.Request, r service.ConvertResult) error {
	rows := [][]string{}
	for _, f := range r.Files {
		rows = append(rows, []string{safe(f.Path), count(int64(f.Tensors), "tensor"), size(f.Bytes)})
	}
	if r.Index != "" {
		rows = append(rows, []string{safe(r.Index)})
	}
	p.table(rows, 2)
	if r.LeftOut > 0 {
		p.line("left out: %s", count(int64(r.LeftOut), "tensor"))
	}
	if r.Overflowed > 0 {
		p.line("%s too large for the new dtype", count(r.Overflowed, "value"))
	}
	for _, n := range r.Notes {
		p.line("note: %s", safe(n))
	}
	return nil
}

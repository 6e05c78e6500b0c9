package main

import (
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"coral/internal/control"
)

const rootLong = `Coral keeps versioned neural-network weights and shows every branch, tag and commit as a directory of ordinary files.

The repository is the one that -R or $CORAL_REPO names (the directory that holds .coral, .coral itself, or a
mountpoint), else the nearest one upward from the working directory, also from inside a mount.`

const exitHelp = `
Exit codes: 0 done, 1 failed, 2 wrong usage, 3 conflict (a branch moved, or changes would be lost).`

const rootExample = `  coral init models && cd models
  coral mount /mnt/models
  cp -r ~/run/checkpoint-500 /mnt/models/branches/main/
  coral snapshot -m "step 500" --metric loss=0.41
  coral log --oneline`

// parsing is what package strconv says of a number that is none.
var parsing = regexp.MustCompile(`strconv\.\w+: parsing ".*": invalid syntax`)

// unset are the commands that do without settings, and so work when these are broken: they end, explain or repair things.
var unset = map[string]bool{"config": true, "version": true, "help": true, "completion": true, "init": true, "unmount": true, "doctor": true, "bench": true}

func newRootCmd(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:           "coral",
		Short:         "A filesystem for versioned neural-network weights",
		Long:          rootLong,
		Example:       rootExample,
		Version:       buildVersion().Version,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.ArbitraryArgs,
	}
	root.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		if like := root.SuggestionsFor(args[0]); len(like) > 0 {
			return control.Usagef("unknown command %q (did you mean %s?)", args[0], strings.Join(like, " or "))
		}
		return control.Usagef("unknown command %q", args[0])
	}
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error {
		if !cmd.HasParent() || unset[cmd.Name()] {
			return nil
		}
		dir, err := a.dir()
		if err != nil {
			dir = "" // whether there has to be one, the command knows
		}
		return a.settings(dir, cmd)
	}
	root.SuggestionsMinimumDistance = 2
	root.PersistentFlags().StringVarP(&a.repo, "repo", "R", "", "the `repository` (default $CORAL_REPO, else the nearest one upward)")
	root.PersistentFlags().BoolVar(&a.json, "json", false, "print the result as JSON; errors too")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return control.Usagef("%s: %s", cmd.Name(), parsing.ReplaceAllString(err.Error(), "not a number"))
	})
	root.AddGroup(
		&cobra.Group{ID: "work", Title: "Work:"}, &cobra.Group{ID: "look", Title: "Look:"},
		&cobra.Group{ID: "refs", Title: "Branches and tags:"}, &cobra.Group{ID: "move", Title: "Go back:"}, &cobra.Group{ID: "keep", Title: "Upkeep:"},
	)
	group := func(id string, list ...*cobra.Command) {
		for _, c := range list {
			c.GroupID = id
			c.Long = strings.TrimRight(c.Long, "\n") + "\n" + exitHelp
			c.Args = cobra.ArbitraryArgs // the request knows better what it takes
			root.AddCommand(c)
		}
	}
	group("work", newInitCmd(a), newMountCmd(a), newUnmountCmd(a), newAddCmd(a), newSnapshotCmd(a), newSyncCmd(a), newExportCmd(a), newConvertCmd(a), newImportCmd(a))
	group("look", newStatusCmd(a), newLogCmd(a), newShowCmd(a), newLsCmd(a), newCatCmd(a), newStatsCmd(a), newDuCmd(a), newBlameCmd(a), newBisectCmd(a), newSimilarCmd(a))
	group("look", newDiffCmd(a), newCompareCmd(a))
	group("refs", newBranchCmd(a), newTagCmd(a), newCheckoutCmd(a), newDescribeCmd(a), newMergeCmd(a))
	group("move", newResetCmd(a), newRestoreCmd(a), newRevertCmd(a), newCherryPickCmd(a), newUndoCmd(a), newReflogCmd(a))
	group("keep", newCacheCmd(a), newDoctorCmd(a), newFsckCmd(a), newGCCmd(a), newCompactCmd(a), newOptimizeCmd(a), newBenchCmd(a), newConfigCmd(a))
	root.AddCommand(newVersionCmd(a))
	return root
}

// strictCompletion makes a shell that completion does not know wrong usage: cobra shows its help and exits 0. Call it
// when the output is set, which cobra looks at only once.
func strictCompletion(root *cobra.Command) {
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		if c.Name() != "completion" {
			continue
		}
		c.Args = cobra.ArbitraryArgs
		c.RunE = func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return control.Usagef("completion: name a shell: bash, zsh, fish or powershell")
			}
			return control.Usagef("completion: no shell %q: bash, zsh, fish or powershell", args[0])
		}
	}
}

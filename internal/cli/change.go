package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
)

// changeOptions are of all commands that change something.
type changeOptions struct{ force, dryRun bool }

func addChange(cmd *cobra.Command, o *changeOptions) {
	cmd.Flags().BoolVar(&o.force, "force", false, "Change it also where somebody else manages it, who may undo it")
	cmd.Flags().BoolVar(&o.dryRun, "dry-run", false, "Print the patch, and change nothing")
}

const managedElsewhere = "\n\nWhere Argo CD, Flux, Helm or another field manager keeps the object as it is written elsewhere, the " +
	"patch to commit there is printed, nothing is changed, and the exit status is 3; --force changes it nevertheless."

// change sets fields of an object's spec. spec works them out from the object as it is: none if there is nothing to do.
// done says what has become of it.
func (s *session) change(ctx context.Context, c *cluster, object client.Object, o changeOptions, spec func() (map[string]any, error), done string) error {
	return retry.RetryOnConflict(retry.DefaultRetry, func() error {
		if err := c.Get(ctx, client.ObjectKeyFromObject(object), object); err != nil {
			return err
		}
		fields, err := spec()
		if err != nil {
			return err
		}
		kind, err := apiutil.GVKForObject(object, c.Scheme())
		if err != nil {
			return err
		}
		name := kind.Kind + " " + object.GetName()
		if object.GetNamespace() != "" {
			name = kind.Kind + " " + object.GetNamespace() + "/" + object.GetName()
		}
		if len(fields) == 0 {
			_, err := fmt.Fprintf(s.Out, "%s: nothing to change, it is so already.\n", name)
			return err
		}
		metadata := map[string]any{"name": object.GetName()}
		if object.GetNamespace() != "" {
			metadata["namespace"] = object.GetNamespace()
		}
		patch := map[string]any{"apiVersion": kind.GroupVersion().String(), "kind": kind.Kind, "metadata": metadata, "spec": fields}
		manager := managerOf(object)
		if o.dryRun || (manager != "" && !o.force) {
			return s.instead(patch, name, manager, o)
		}
		applies := appliesOf(object, map[string]any{"spec": fields})
		// Whoever writes in between is not overwritten: lists are sent as a whole.
		metadata["resourceVersion"] = object.GetResourceVersion()
		text, err := json.Marshal(patch)
		if err != nil {
			return err
		}
		if err := c.Patch(ctx, object, client.RawPatch(types.MergePatchType, text), fieldOwner); err != nil {
			return err
		}
		if applies != "" {
			_, _ = fmt.Fprintf(s.ErrOut, "warning: the field manager %q applies what was changed: write it into its manifest too, else the next "+
				"kubectl apply --server-side ends in a conflict with %q\n", applies, fieldOwner)
		}
		if manager != "" {
			_, _ = fmt.Fprintf(s.ErrOut, "warning: %s is managed by %s, which may undo this: commit it there too\n", name, manager)
		}
		_, err = fmt.Fprintf(s.Out, "%s: %s\n", name, done)
		return err
	})
}

// instead prints the patch that is not applied.
func (s *session) instead(patch map[string]any, name, manager string, o changeOptions) error {
	text, err := manifest(patch)
	if err != nil {
		return err
	}
	if _, err := s.Out.Write(text); err != nil || o.dryRun {
		return err
	}
	return &status{ExitUnchanged, errors.New("nothing was changed: " + name + " is managed by " + manager +
		". Commit the patch above where it is written, or change it here with --force")}
}

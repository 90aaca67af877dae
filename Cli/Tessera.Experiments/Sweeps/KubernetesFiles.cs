using System.Text.Encodings.Web;
using System.Text.Json;

namespace Tessera.Experiments.Sweeps;

/// <summary>A sweep for Kubernetes: an indexed job, whose tasks fail and are repeated one by one, and a job that merges.</summary>
internal static class KubernetesFiles
{
    public static SubmitFile[] Of(SubmitFiles.Parts parts)
    {
        SubmitRequest request = parts.Request;
        string cells = $"first=$(({parts.First("JOB_COMPLETION_INDEX")})); exec {Plain(parts.Tessera)} sweep run {Plain(parts.Folder)} --cells "
            + $"\"$first-$((first + {parts.PerTask - 1}))\"";
        string queue = request.Queue is { } name
            ? $"\n    # Kueue lets it start when its queue has room.\n    kueue.x-k8s.io/queue-name: {Text(name)}" : "";
        string kvm = parts.NeedsKvm ? ", devices.kubevirt.io/kvm: \"1\"" : "";
        string run = $$"""
            # Makes the cells of a sweep, {{parts.PerTask}} a task. Cells that are there stay: create it again after a failure.
            apiVersion: batch/v1
            kind: Job
            metadata:
              generateName: tessera-sweep-
              labels:
                app.kubernetes.io/name: tessera-sweep{{queue}}
            spec:
              completionMode: Indexed
              completions: {{parts.Tasks}}
              parallelism: {{parts.Tasks}}
              backoffLimitPerIndex: 3
              template:
                metadata:
                  labels:
                    app.kubernetes.io/name: tessera-sweep
                spec:
                  restartPolicy: Never
                  # A run that is stopped ends in order; that takes a minute at most.
                  terminationGracePeriodSeconds: 90
                  containers:
                    - name: cells
                      image: {{Text(request.Image)}}
                      command: ["/bin/sh", "-c", {{Text(cells)}}]
                      env:
                        # A pod is not a host: runs say on which node they were made.
                        - name: TESSERA_HOST
                          valueFrom: { fieldRef: { fieldPath: spec.nodeName } }
                      # Whole CPUs, no more and no less: with the static CPU manager a machine has them alone.
                      resources:
                        requests: { cpu: "{{parts.Cpus}}", memory: 4Gi{{kvm}} }
                        limits: { cpu: "{{parts.Cpus}}", memory: 4Gi{{kvm}} }
                      volumeMounts:
                        - { name: sweep, mountPath: {{Text(request.Folder)}} }
                  volumes:
                    - name: sweep
                      persistentVolumeClaim: { claimName: {{Text(request.Claim)}} }

            """;
        string merge = $$"""
            # Merges what is there; create it when the sweep's job has ended.
            apiVersion: batch/v1
            kind: Job
            metadata:
              generateName: tessera-merge-
              labels:
                app.kubernetes.io/name: tessera-merge{{queue}}
            spec:
              backoffLimit: 0
              template:
                spec:
                  restartPolicy: Never
                  containers:
                    - name: merge
                      image: {{Text(request.Image)}}
                      command: [{{Text(Plain(request.Command))}}, "sweep", "merge", {{Text(Plain(request.Folder))}}]
                      resources:
                        requests: { cpu: "1", memory: 2Gi }
                      volumeMounts:
                        - { name: sweep, mountPath: {{Text(request.Folder)}} }
                  volumes:
                    - name: sweep
                      persistentVolumeClaim: { claimName: {{Text(request.Claim)}} }

            """;
        string submit = $"""
            #!/bin/sh
            # Creates the job. When it has ended (kubectl get jobs): kubectl create -f merge.yaml
            set -eu
            cd {SubmitFiles.Quoted(Path.Combine(request.Folder, "submit"))}
            kubectl create -f job.yaml

            """;
        return [new("job.yaml", run), new("merge.yaml", merge), new(SubmitFiles.Script, submit)];
    }

    /// <summary>A word of a command as Kubernetes takes it: $(NAME) stands for a variable, and $$ for a $.</summary>
    private static string Plain(string text) => text.Replace("$", "$$", StringComparison.Ordinal);

    /// <summary>A text as YAML takes it: JSON's strings are YAML's.</summary>
    private static string Text(string text) => $"\"{JsonEncodedText.Encode(text, JavaScriptEncoder.UnsafeRelaxedJsonEscaping)}\"";
}

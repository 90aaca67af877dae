namespace Tessera.GuestLibrary;

/// <summary>The command line fetched guests boot with.</summary>
public static class GuestCommandLine
{
    /// <summary>
    /// Chosen for a quick boot of one vCPU, with nothing that hides work from a measurement:
    /// <list type="bullet">
    /// <item><c>console=hvc0</c>: the Xen PV console.</item>
    /// <item><c>quiet</c>: Debian's own default; warnings and a dying kernel's last words still appear.</item>
    /// <item><c>nr_cpus=1</c>: without it the kernel asks Xen about each of the 8,192 vCPUs Debian builds it for.</item>
    /// <item><c>noreplace-smp</c>: keep LOCK prefixes; taking out 8,770 of them costs two page-table switches each.</item>
    /// <item><c>rodata=off</c>: saves 6,656 single page-table updates; the kernel's code is then writable to itself, which is no wall of ours.</item>
    /// </list>
    /// </summary>
    public const string Linux = "console=hvc0 quiet nr_cpus=1 noreplace-smp rodata=off";
}

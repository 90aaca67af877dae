#:package Tmds.LibC
#:property AllowUnsafeBlocks=true
#:property RunAnalyzers=false
#:property RestorePackagesWithLockFile=false

// What KVM_RUN costs through Tmds.LibC, through an import of our own, and through one that does not save errno: dotnet run -c Release bench/kvm-run.cs
// The vCPU is told to come back at once (immediate_exit), so what is measured is the call itself; the calls take turns.
using System.Diagnostics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Tmds.Linux;

const int Calls = 60_000;
const int KvmRun = 0xAE80;
int device, machine, vcpu;
unsafe
{
    fixed (byte* path = "/dev/kvm\0"u8)
        device = LibC.open(path, LibC.O_RDWR);
    machine = LibC.ioctl(device, 0xAE01, 0);
    vcpu = LibC.ioctl(machine, 0xAE41, 0);
    byte* area = (byte*)LibC.mmap(null, LibC.ioctl(device, 0xAE04, 0), LibC.PROT_READ | LibC.PROT_WRITE, LibC.MAP_SHARED, vcpu, 0);
    if (vcpu < 0 || area == LibC.MAP_FAILED)
        throw new InvalidOperationException("No vCPU here: is /dev/kvm there and yours?");
    area[1] = 1;
}

foreach ((string what, int file) in new[] { ("KVM_RUN", vcpu), ("an ioctl of no file", -1) })
{
    long[][] took = [new long[Calls], new long[Calls], new long[Calls]];
    for (int call = -2000; call < Calls; call++)
    {
        long start = Stopwatch.GetTimestamp();
        Ways.Package(file, KvmRun);
        long first = Stopwatch.GetTimestamp();
        Ways.Own(file, KvmRun);
        long second = Stopwatch.GetTimestamp();
        Ways.Bare(file, KvmRun);
        long third = Stopwatch.GetTimestamp();
        if (call >= 0)
            (took[0][call], took[1][call], took[2][call]) = (first - start, second - first, third - second);
    }

    string[] names = ["Tmds.LibC", "own import", "own import, errno not saved"];
    for (int way = 0; way < 3; way++)
    {
        Array.Sort(took[way]);
        double scale = 1e9 / Stopwatch.Frequency;
        Console.WriteLine($"{what}, {names[way]}: median {took[way][Calls / 2] * scale:F0} ns, least {took[way][0] * scale:F0} ns");
    }
}

internal static unsafe partial class Ways
{
    [MethodImpl(MethodImplOptions.NoInlining)]
    public static int Package(int file, int request) => LibC.ioctl(file, request, 0) >= 0 ? 0 : LibC.errno;

    [MethodImpl(MethodImplOptions.NoInlining)]
    public static int Own(int file, int request) => Saved(file, (nuint)request, 0) >= 0 ? 0 : Marshal.GetLastPInvokeError();

    [MethodImpl(MethodImplOptions.NoInlining)]
    public static int Bare(int file, int request) => Unsaved(file, (nuint)request, 0) >= 0 ? 0 : Marshal.GetLastSystemError();

    [LibraryImport("libc", EntryPoint = "ioctl", SetLastError = true)]
    private static partial int Saved(int file, nuint request, nint argument);

    [LibraryImport("libc", EntryPoint = "ioctl")]
    private static partial int Unsaved(int file, nuint request, nint argument);
}

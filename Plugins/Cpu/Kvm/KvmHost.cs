using System.Runtime.InteropServices;
using Tessera.Plugins.Cpu.Kvm.Native;
using Tessera.Sdk.Cpu;

namespace Tessera.Plugins.Cpu.Kvm;

/// <summary>The opened device, checked for what the engine cannot do without.</summary>
internal sealed class KvmHost : IDisposable
{
    /// <summary>The environment variable that names another device file.</summary>
    public const string DeviceVariable = "TESSERA_KVM_DEVICE";

    private const string NewerKernel = "Use a Linux kernel of version 5.10 or later with its kvm module.";

    private readonly DescriptorHandle _device;
    private readonly KvmCpuid _supportedCpuid;

    private KvmHost(string path, DescriptorHandle device)
    {
        Path = path;
        _device = device;
        Check();
        RunAreaBytes = KvmCalls.Call(device.Fd, KvmCalls.GetVcpuMmapSize, 0);
        MaxCpus = Extension(KvmCalls.CapMaxVcpus);
        MaxMemorySlots = Extension(KvmCalls.CapMemorySlots);
        _supportedCpuid.Count = KvmCpuid.Capacity;
        int result = KvmCalls.Call(device.Fd, KvmCalls.GetSupportedCpuid, ref _supportedCpuid);
        if (result < 0)
            throw Failed("KVM_GET_SUPPORTED_CPUID", -result, NewerKernel);
    }

    /// <summary>The device file.</summary>
    public string Path { get; }

    /// <summary>Bytes of a vCPU's run area.</summary>
    public int RunAreaBytes { get; }

    /// <summary>Most vCPUs a VM can have.</summary>
    public int MaxCpus { get; }

    /// <summary>Most memory slots a VM can have.</summary>
    public int MaxMemorySlots { get; }

    /// <summary>What the engine's areas in its machines lie in.</summary>
    public AreaPages AreaPages { get; } = new();

    /// <summary>The host's time-stamp counter.</summary>
    public HostCounter Counter { get; } = new();

    /// <summary>How the counters of CPUs created from now on are set: the probe's choice.</summary>
    public CounterMethod CounterMethod { get; set; } = CounterMethod.AsItIs;

    /// <summary>
    /// `syscall` of 64-bit code needs EFER.SCE here: the probe's finding. Where it does not, SCE stays off and `syscall` of 32-bit code is
    /// #UD: a KVM that emulates such code would enter ring 0 at CSTAR cut to 32 bits, which is an address of the guest's.
    /// </summary>
    public bool SyscallNeedsEnable { get; set; } = true;

    /// <summary>What CPUID KVM can give a guest here.</summary>
    public ref readonly KvmCpuid SupportedCpuid => ref _supportedCpuid;

    /// <summary>The path in use: the environment's, or /dev/kvm.</summary>
    public static string DefaultPath() => Environment.GetEnvironmentVariable(DeviceVariable) is { Length: > 0 } path ? path : "/dev/kvm";

    /// <summary>Opens and checks the device.</summary>
    /// <exception cref="EngineException">It is missing, not allowed, not KVM, or too old.</exception>
    public static KvmHost Open(string path)
    {
        int fd = KvmCalls.OpenDevice(path);
        if (fd < 0)
            throw CannotOpen(path, -fd);
        DescriptorHandle device = new(fd);
        try
        {
            return new KvmHost(path, device);
        }
        catch
        {
            device.Dispose();
            throw;
        }
    }

    /// <summary>The message for a device that does not open.</summary>
    public static EngineException CannotOpen(string path, int errno) => errno switch
    {
        KvmCalls.ErrnoNoEntry => new EngineException(
            $"{path} does not exist.",
            $"Load the kvm module for this CPU (modprobe kvm_intel or kvm_amd, with virtualization enabled in the firmware), give a container the device, or name another in {DeviceVariable}."),
        KvmCalls.ErrnoAccess or KvmCalls.ErrnoPermission => new EngineException(
            $"{path} may not be opened by this user: {Marshal.GetPInvokeErrorMessage(errno)}.",
            "Give this user read and write rights to it: by its group, if that has them (ls -l), or by an access list (setfacl); or run as root."),
        _ => new EngineException($"{path} cannot be opened: {Marshal.GetPInvokeErrorMessage(errno)}.", "Check that the kvm modules are loaded and work (dmesg)."),
    };

    /// <summary>The message for a device with another API version than the stable one.</summary>
    public static EngineException WrongVersion(string path, int version) => version < 0
        ? new EngineException($"{path} is not a KVM device: {Marshal.GetPInvokeErrorMessage(-version)}.", $"Name the KVM device in {DeviceVariable}, or unset it.")
        : new EngineException($"{path} speaks KVM API version {version}, not {KvmCalls.ApiVersion}.", NewerKernel);

    /// <summary>The message for a capability that is missing.</summary>
    public static EngineException Missing(string path, string capability, string reason) =>
        new($"The KVM of {path} lacks {capability}, needed {reason}.", NewerKernel);

    /// <summary>The message for a KVM call that failed.</summary>
    public static EngineException Failed(string call, int errno, string cure) =>
        new($"{call} failed: {Marshal.GetPInvokeErrorMessage(errno)} (errno {errno}).", cure);

    /// <summary>KVM_CHECK_EXTENSION.</summary>
    public int Extension(int capability) => Math.Max(0, KvmCalls.Call(_device.Fd, KvmCalls.CheckExtension, capability));

    /// <summary>Creates a VM.</summary>
    public DescriptorHandle CreateVm()
    {
        int fd = KvmCalls.Call(_device.Fd, KvmCalls.CreateVm, 0);
        return fd >= 0 ? new DescriptorHandle(fd) : throw Failed("KVM_CREATE_VM", -fd, "Raise the limit of open files (ulimit -n) or run fewer domains.");
    }

    /// <summary>One leaf of the supported CPUID; zeros when it is not there.</summary>
    public KvmCpuidEntry Leaf(uint function, uint index = 0)
    {
        ReadOnlySpan<KvmCpuidEntry> entries = _supportedCpuid.Entries;
        foreach (ref readonly KvmCpuidEntry entry in entries[..(int)_supportedCpuid.Count])
        {
            if (entry.Function == function && entry.Index == index)
                return entry;
        }

        return default;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Counter.Dispose();
        _device.Dispose();
    }

    private void Check()
    {
        int version = KvmCalls.Call(_device.Fd, KvmCalls.GetApiVersion, 0);
        if (version != KvmCalls.ApiVersion)
            throw WrongVersion(Path, version);
        const int Needed = (int)(RunArea.Regs | RunArea.Sregs | RunArea.Events);
        if ((Extension(KvmCalls.CapSyncRegs) & Needed) != Needed)
            throw Missing(Path, "KVM_CAP_SYNC_REGS for registers, system registers and events", "to exchange registers without a system call for each");
        Require(KvmCalls.CapUserMemory, "KVM_CAP_USER_MEMORY", "to give guests memory");
        Require(KvmCalls.CapReadOnlyMemory, "KVM_CAP_READONLY_MEM", "to show guests memory they may not write");
        Require(KvmCalls.CapExtendedCpuid, "KVM_CAP_EXT_CPUID", "to choose what CPUID says");
        Require(KvmCalls.CapDebugRegs, "KVM_CAP_DEBUGREGS", "to give each vCPU its debug registers");
        Require(KvmCalls.CapImmediateExit, "KVM_CAP_IMMEDIATE_EXIT", "to complete an interrupted exit without running the guest");
    }

    private void Require(int capability, string name, string reason)
    {
        if (Extension(capability) == 0)
            throw Missing(Path, name, reason);
    }
}

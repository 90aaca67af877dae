using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Text;
using Tessera.Images;
using Tessera.Kernel.Domains;
using Tessera.Kernel.Memory;
using Tessera.Kernel.Store;
using Tessera.Sdk;
using Tessera.Sdk.Cpu;
using Tessera.Sdk.Cpu.X64;
using Tessera.Sdk.Memory;
using Tessera.Sdk.Xen;

namespace Tessera.Kernel.Building;

/// <summary>
/// Builds a domain's start of day in its memory: image, ramdisk, frame list, start_info, boot page tables, registers of vCPU 0
/// (public/xen.h, "start-of-day memory layout").
/// </summary>
internal sealed class DomainBuilder(Domain domain, EngineFacts engine)
{
    private const ulong TableEntry = 0x23; // accessed | writable | present
    private const ulong PageEntry = 0x63; // dirty | accessed | writable | present
    private const ulong Writable = 2;
    private const ulong InitialFlags = 0x202; // interrupts on
    private const int HypercallStubBytes = 32;
    private const int MaxCommandLine = 1024;

    private readonly DomainConfiguration _configuration = domain.Configuration;
    private readonly DomainMemory _memory = domain.Memory;
    private readonly long _frames = domain.AssignedFrames;
    private readonly KernelImage _image = domain.Configuration.Image;

    /// <summary>Does it all; the domain's first vCPU can run afterwards.</summary>
    /// <exception cref="DomainBuildException">The image or configuration does not fit.</exception>
    public void Build(XenStore store, StoreServer server)
    {
        BootLayout layout = BootLayout.Plan(domain.Name, _image, _configuration.Initrd.Length, _frames);
        LoadImage();
        if (!_configuration.Initrd.IsEmpty)
            _configuration.Initrd.Span.CopyTo(_memory.BeforeBoot(layout.InitrdPfn, _configuration.Initrd.Length));
        _memory.Populate(layout.FrameListPfn, layout.StackPfn + 1 - layout.FrameListPfn);
        WriteFrameList(layout);
        RingPorts ports = Rings.Connect(domain, DomainMemory.First + layout.StorePfn, DomainMemory.First + layout.ConsolePfn, store, server);
        Rings.PublishMemory(domain, store);
        WriteStartInfo(layout, ports);
        Mfn root = WriteTables(layout);
        WriteHypercallPage(layout);
        domain.Shared.SetWallClock(domain.Host.Clock.WallAtStart);
        FindReportPage(domain);

        XenErrno adopted;
        while ((adopted = domain.Mmu.AdoptBootTables(root)) == XenErrno.ERESTART)
            domain.FinishMmuWork();
        if (adopted != XenErrno.Success)
            throw new DomainBuildException($"Domain '{domain.Name}': the MMU plugin refused the boot page tables ({adopted}).");
        // The clock's rate must be known before the guest reads it; by now the time that measuring takes has passed by itself.
        domain.Host.Clock.Calibrate();
        SetRegisters(layout);
    }

    private void LoadImage()
    {
        foreach (ImageSegment segment in _image.Segments)
        {
            ulong offset = segment.PhysicalAddress;
            if (offset + segment.MemorySize > (ulong)_frames << 12)
            {
                throw new DomainBuildException(
                    $"Domain '{domain.Name}': the kernel's segment at 0x{segment.PhysicalAddress:x} (0x{segment.MemorySize:x} bytes) ends " +
                    $"beyond its memory of {_frames * 4 >> 10} MiB. Give it more memory.");
            }

            Span<byte> place = MemoryAt(offset, segment.Data.Length);
            _memory.Populate((long)(offset >> 12), (long)(((offset & 4095) + (ulong)segment.Data.Length + 4095) >> 12));
            segment.Data.Span.CopyTo(place);
        }
    }

    private Span<byte> MemoryAt(ulong physical, int bytes) => _memory.BeforeBoot((long)(physical >> 12), bytes + (int)(physical & 4095))[(int)(physical & 4095)..];

    private void WriteFrameList(BootLayout layout)
    {
        Span<ulong> list = MemoryMarshal.Cast<byte, ulong>(_memory.BeforeBoot(layout.FrameListPfn, _frames * 8));
        for (int pfn = 0; pfn < list.Length; pfn++)
            list[pfn] = (ulong)(DomainMemory.First.Value + pfn);
    }

    private void WriteStartInfo(BootLayout layout, RingPorts ports)
    {
        Span<byte> info = _memory.BeforeBoot(layout.StartInfoPfn, 4096);
        FillStartInfo(domain, ports, info);
        Put(info, StartInfo.PtBase, layout.AddressOf(layout.TablesPfn));
        Put(info, StartInfo.NrPtFrames, (ulong)layout.TableFrames);
        Put(info, StartInfo.MfnList, layout.AddressOf(layout.FrameListPfn));
        if (!_configuration.Initrd.IsEmpty)
        {
            Put(info, StartInfo.ModStart, layout.AddressOf(layout.InitrdPfn));
            Put(info, StartInfo.ModLen, (ulong)_configuration.Initrd.Length);
        }

        byte[] line = Encoding.UTF8.GetBytes(_configuration.CommandLine);
        if (line.Length >= MaxCommandLine)
            throw new DomainBuildException($"Domain '{domain.Name}': the command line is {line.Length} bytes long; a Xen PV kernel takes at most {MaxCommandLine - 1}.");
        line.CopyTo(info[StartInfo.CommandLine..]);
    }

    /// <summary>Fills what every start of start_info says, at boot and after a suspension: what the domain shares with the VMM, and where.</summary>
    public static void FillStartInfo(Domain domain, RingPorts ports, Span<byte> info)
    {
        info[..StartInfo.PtBase].Clear();
        "xen-3.0-x86_64"u8.CopyTo(info[StartInfo.Magic..]);
        Put(info, StartInfo.NrPages, (ulong)domain.AssignedFrames);
        Put(info, StartInfo.SharedInfo, domain.Memory.SharedInfoFrame.Address);
        Put(info, StartInfo.StoreMfn, (ulong)domain.Rings.Store.Value);
        Put(info, StartInfo.StoreEventChannel, (ulong)ports.Store);
        Put(info, StartInfo.ConsoleMfn, (ulong)domain.Rings.Console.Value);
        Put(info, StartInfo.ConsoleEventChannel, (ulong)ports.Console);
    }

    private static void Put(Span<byte> page, int offset, ulong value) => BinaryPrimitives.WriteUInt64LittleEndian(page[offset..], value);

    /// <summary>Maps the range with 4 KiB pages; the tables' own frames are mapped read-only, as they must be from the first moment.</summary>
    private Mfn WriteTables(BootLayout layout)
    {
        long next = layout.TablesPfn + 1;
        long root = layout.TablesPfn;
        Span<ulong> Table(long pfn) => MemoryMarshal.Cast<byte, ulong>(_memory.BeforeBoot(pfn, 4096));
        long Below(long table, int index)
        {
            Span<ulong> entries = Table(table);
            if (entries[index] == 0)
                entries[index] = (DomainMemory.First + next++).Address | TableEntry;
            return PageTableEntry.FrameOf(entries[index]).Value - DomainMemory.First.Value;
        }

        for (ulong address = layout.VirtualBase; address != layout.VirtualEnd; address += 4096)
        {
            long level1 = Below(Below(Below(root, (int)(address >> 39) & 511), (int)(address >> 30) & 511), (int)(address >> 21) & 511);
            long pfn = (long)((address - layout.VirtualBase) >> 12);
            bool isTable = pfn >= layout.TablesPfn && pfn < layout.TablesPfn + layout.TableFrames;
            Table(level1)[(int)(address >> 12) & 511] = (DomainMemory.First + pfn).Address | (isTable ? PageEntry & ~Writable : PageEntry);
        }

        return DomainMemory.First + root;
    }

    /// <summary>Fills the page of hypercall stubs, for kernels that name one: stub n at 32·n.</summary>
    private void WriteHypercallPage(BootLayout layout)
    {
        if (_image.Notes.HypercallPage is not ulong address)
            return;
        ulong physical = address - layout.VirtualBase;
        if ((physical & 4095) != 0 || physical + 4096 > (ulong)_frames << 12)
            throw new DomainBuildException($"Domain '{domain.Name}': its HYPERCALL_PAGE note (0x{address:x}) is not a page of its memory.");
        Span<byte> page = MemoryAt(physical, 4096);
        page.Clear();
        ReadOnlySpan<byte> enter = [.. engine.HypercallInstruction];
        for (int number = 0; number < 4096 / HypercallStubBytes; number++)
        {
            Span<byte> stub = page.Slice(number * HypercallStubBytes, HypercallStubBytes);
            if (number == (int)Hypercall.Iret)
            {
                // push rcx; push r11; push rax; mov eax, 23; syscall: iret finds its frame on the stack.
                ReadOnlySpan<byte> iret = [0x51, 0x41, 0x53, 0x50, 0xb8, (byte)number, 0, 0, 0, 0x0f, 0x05];
                iret.CopyTo(stub);
                continue;
            }

            stub[0] = 0xb8; // mov eax, number
            BinaryPrimitives.WriteInt32LittleEndian(stub[1..], number);
            enter.CopyTo(stub[5..]);
            stub[5 + enter.Length] = 0xc3; // ret
        }
    }

    /// <summary>Finds a built-in guest's report page.</summary>
    /// <exception cref="DomainBuildException">It is not in the domain's memory.</exception>
    public static void FindReportPage(Domain domain)
    {
        if (domain.Configuration.Image.ReportPageAddress is not ulong physical)
            return;
        if ((physical & 4095) != 0 || physical + 4096 > (ulong)domain.AssignedFrames << 12)
            throw new DomainBuildException($"Domain '{domain.Name}': its report page (0x{physical:x}) is not a page of its memory.");
        domain.ReportPage = DomainMemory.First.Address + physical;
    }

    private void SetRegisters(BootLayout layout)
    {
        Vcpu vcpu = domain.Vcpus[0];
        ref GuestCpuState state = ref vcpu.Cpu.State;
        state = default;
        state.Rip = _image.Entry.Value;
        state.Rsi = layout.AddressOf(layout.StartInfoPfn);
        state.Rsp = layout.AddressOf(layout.StackPfn + 1);
        state.Rflags = InitialFlags;
        (state.Cs, state.Ss) = (FlatSelectors.Code64, FlatSelectors.Data);
        (state.Ds, state.Es, state.Fs, state.Gs) = (FlatSelectors.NullData, FlatSelectors.NullData, FlatSelectors.NullData, FlatSelectors.NullData);
        state.Dr6 = 0xFFFF0FF0;
        state.Dr7 = 0x400;
        state.Root = domain.Mmu.Root(0, userMode: false);
        for (int index = 0; index < SharedInfo.LegacyVcpus; index++)
            domain.Shared.VcpuInfo(index).EventsMasked = true;
        domain.Host.Clock.FillTimeInfo(vcpu.Context.Info.Time, vcpu.CounterShift, domain.TimeAhead);
    }
}

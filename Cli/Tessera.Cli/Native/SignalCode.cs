using System.Buffers.Binary;
using System.Runtime.InteropServices;
using Tessera.Experiments;
using Tmds.Linux;

namespace Tessera.Cli.Native;

/// <summary>
/// A signal handler in machine code, because it may interrupt a thread anywhere, also one of the runtime's own that must not run managed code: it makes system calls
/// for the thread that it interrupts.
/// </summary>
internal sealed unsafe class SignalCode : IDisposable
{
    private const int PageSize = 4096;
    private const int DataAt = 2048;
    private const uint CapabilityVersion3 = 0x20080522;

    private readonly int _signal;
    private readonly sigaction _before;

    /// <param name="signal">The signal.</param>
    /// <param name="data">What the code reads; at most half a page.</param>
    /// <param name="code">Gives the code, half a page at most, for the address of those data.</param>
    private SignalCode(int signal, ReadOnlySpan<byte> data, Func<ulong, byte[]> code)
    {
        _signal = signal;
        // SAFETY: the page is just mapped, larger than what is put there, and never unmapped: a signal may still be under way when this is disposed.
        byte* page = (byte*)LibC.mmap(null, PageSize, LibC.PROT_READ | LibC.PROT_WRITE, LibC.MAP_PRIVATE | LibC.MAP_ANONYMOUS, -1, 0);
        if (page == LibC.MAP_FAILED)
            throw new FailedException($"mmap: {Marshal.GetPInvokeErrorMessage(LibC.errno)}.");
        data.CopyTo(new Span<byte>(page + DataAt, PageSize - DataAt));
        code((ulong)page + DataAt).CopyTo(new Span<byte>(page, DataAt));
        if (LibC.mprotect(page, PageSize, LibC.PROT_READ | LibC.PROT_EXEC) != 0)
            throw new FailedException($"mprotect: {Marshal.GetPInvokeErrorMessage(LibC.errno)}. The host forbids generated code.");
        sigaction action = default;
        action.sa_handler = page;
        action.sa_flags = LibC.SA_RESTART;
        sigaction before;
        if (LibC.sigaction(signal, &action, &before) != 0)
            throw new FailedException($"sigaction: {Marshal.GetPInvokeErrorMessage(LibC.errno)}.");
        _before = before;
    }

    /// <summary>Gives up the thread's capabilities, bounding set included, and the way to new ones.</summary>
    public static SignalCode Dropping(int signal)
    {
        // Arguments of capset(2): a header that names the calling thread, and three empty sets twice.
        byte[] data = new byte[40];
        BinaryPrimitives.WriteUInt32LittleEndian(data, CapabilityVersion3);
        return new SignalCode(signal, data, static at =>
        {
            byte[] code =
            [
                0x53, // push rbx
                0xb8, 157, 0, 0, 0, 0xbf, 38, 0, 0, 0, 0xbe, 1, 0, 0, 0, // prctl(PR_SET_NO_NEW_PRIVS, 1,
                0x31, 0xd2, 0x45, 0x31, 0xd2, 0x45, 0x31, 0xc0, 0x0f, 0x05, // 0, 0, 0)
                0xbb, 63, 0, 0, 0, // mov ebx, 63
                0xb8, 157, 0, 0, 0, 0xbf, 24, 0, 0, 0, 0x89, 0xde, // prctl(PR_CAPBSET_DROP, ebx,
                0x31, 0xd2, 0x45, 0x31, 0xd2, 0x45, 0x31, 0xc0, 0x0f, 0x05, // 0, 0, 0)
                0xff, 0xcb, 0x79, 0xe6, // dec ebx; jns to that call
                0xb8, 126, 0, 0, 0, 0x48, 0xbf, 0, 0, 0, 0, 0, 0, 0, 0, 0x48, 0xbe, 0, 0, 0, 0, 0, 0, 0, 0, 0x0f, 0x05, // capset(header, data)
                0x5b, 0xc3, // pop rbx; ret
            ];
            int end = code.Length;
            BinaryPrimitives.WriteUInt64LittleEndian(code.AsSpan(end - 4 - 8), at + 16);
            BinaryPrimitives.WriteUInt64LittleEndian(code.AsSpan(end - 4 - 8 - 2 - 8), at);
            return code;
        });
    }

    /// <summary>Puts a filter on the thread, and counts whether it could.</summary>
    public static SignalCode Filtering(int signal, FilterProgram program, FilterCount count) => new(signal, [], _ =>
    {
        byte[] code =
        [
            0xb8, 0, 0, 0, 0, 0xbf, FilterProgram.SetModeFilter, 0, 0, 0, 0x31, 0xf6, // seccomp(SECCOMP_SET_MODE_FILTER, 0,
            0x48, 0xba, 0, 0, 0, 0, 0, 0, 0, 0, 0x0f, 0x05, // program)
            0x48, 0xba, 0, 0, 0, 0, 0, 0, 0, 0, // mov rdx, count
            0x48, 0x85, 0xc0, 0x75, 0x04, 0xf0, 0xff, 0x02, 0xc3, // test rax, rax; jnz; lock inc dword [rdx]; ret
            0xf0, 0xff, 0x42, 0x04, 0xc3, // lock inc dword [rdx+4]; ret
        ];
        BinaryPrimitives.WriteInt32LittleEndian(code.AsSpan(1), FilterProgram.SysSeccomp);
        BinaryPrimitives.WriteInt64LittleEndian(code.AsSpan(14), program.Keep());
        BinaryPrimitives.WriteInt64LittleEndian(code.AsSpan(26), count.Address);
        return code;
    });

    /// <summary>Takes it away again: the signal is ignored from now on if it was at its default, which would end the process.</summary>
    public void Dispose()
    {
        sigaction before = _before;
        if (before.sa_handler == LibC.SIG_DFL)
            before.sa_handler = LibC.SIG_IGN;
        _ = LibC.sigaction(_signal, &before, null);
    }
}

/// <summary>How many threads a filter was put on, and how many refused it. Stays for good: a signal may come late.</summary>
internal sealed unsafe class FilterCount
{
    // SAFETY: two numbers, never freed.
    private readonly int* _counts = (int*)NativeMemory.AllocZeroed(2, sizeof(int));

    /// <summary>Where they are: those that have it, then those that refused.</summary>
    public nint Address => (nint)_counts;

    /// <summary>Threads that have it.</summary>
    public int Done => Volatile.Read(ref _counts[0]);

    /// <summary>Threads that the kernel refused it.</summary>
    public int Failed => Volatile.Read(ref _counts[1]);
}

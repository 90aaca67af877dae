using System.Buffers.Binary;
using Tmds.Linux;

namespace Tessera.Cli.Native;

/// <summary>
/// A signal handler that gives up its thread's capabilities, bounding set included, and the way to new ones. In machine code, because a handler may interrupt a thread
/// anywhere, also one of the runtime's own that must not run managed code; it makes system calls and touches nothing but its own page.
/// </summary>
internal sealed unsafe class DroppingHandler : IDisposable
{
    private const int PageSize = 4096;
    private const int HeaderAt = 2048;
    private const int DataAt = 2064;
    private const uint CapabilityVersion3 = 0x20080522;

    private readonly int _signal;
    private readonly sigaction _before;

    /// <summary>Installs it.</summary>
    public DroppingHandler(int signal)
    {
        _signal = signal;
        // SAFETY: the page is just mapped, larger than what is put there, and never unmapped: a signal may still be under way when this is disposed. Its
        // upper half is the arguments of capset(2): a header that names the calling thread, and three empty sets twice.
        byte* page = (byte*)LibC.mmap(null, PageSize, LibC.PROT_READ | LibC.PROT_WRITE, LibC.MAP_PRIVATE | LibC.MAP_ANONYMOUS, -1, 0);
        if (page == LibC.MAP_FAILED)
            throw new FailedException($"mmap: errno {LibC.errno}.");
        *(uint*)(page + HeaderAt) = CapabilityVersion3;
        Code((ulong)page).CopyTo(new Span<byte>(page, HeaderAt));
        if (LibC.mprotect(page, PageSize, LibC.PROT_READ | LibC.PROT_EXEC) != 0)
            throw new FailedException($"mprotect: errno {LibC.errno}. The host forbids generated code.");
        sigaction action = default;
        action.sa_handler = page;
        action.sa_flags = LibC.SA_RESTART;
        sigaction before;
        if (LibC.sigaction(signal, &action, &before) != 0)
            throw new FailedException($"sigaction: errno {LibC.errno}.");
        _before = before;
    }

    /// <summary>Takes it away again: the signal is ignored from now on if it was at its default, which would end the process.</summary>
    public void Dispose()
    {
        sigaction before = _before;
        if (before.sa_handler == LibC.SIG_DFL)
            before.sa_handler = LibC.SIG_IGN;
        _ = LibC.sigaction(_signal, &before, null);
    }

    private static byte[] Code(ulong page)
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
        BinaryPrimitives.WriteUInt64LittleEndian(code.AsSpan(end - 4 - 8), page + DataAt);
        BinaryPrimitives.WriteUInt64LittleEndian(code.AsSpan(end - 4 - 8 - 2 - 8), page + HeaderAt);
        return code;
    }
}

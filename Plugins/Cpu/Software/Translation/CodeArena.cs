using System.Runtime.InteropServices;
using Tessera.Plugins.Cpu.Software.Native;
using Tessera.Sdk.Cpu;

namespace Tessera.Plugins.Cpu.Software.Translation;

/// <summary>A slot of the <see cref="CodeSpace"/> with memory behind it, mapped twice: to write code, and, elsewhere, to run it.</summary>
internal sealed unsafe class CodeArena : IDisposable
{
    // SAFETY: both mappings live until Dispose, which comes after the last Run.
    private const int PieceBytes = 256 << 10;
    private readonly nint _slot;
    private nint _writable;
    private int _touched;

    public CodeArena()
    {
        CodeSpace space = CodeSpace.Instance;
        _slot = space.Take();
        try
        {
            _writable = NativeCalls.Map(0, CodeSpace.SlotBytes, NativeCalls.Read | NativeCalls.Write, NativeCalls.Shared, space.File, space.OffsetOf(_slot));
            if (_writable == NativeCalls.Failed)
                throw Failed("mmap");
            if (NativeCalls.Map(_slot, CodeSpace.SlotBytes, NativeCalls.Read | NativeCalls.Execute, NativeCalls.Shared | NativeCalls.Fixed, space.File, space.OffsetOf(_slot)) == NativeCalls.Failed)
                throw Failed("mmap of executable memory");
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>The first byte to write.</summary>
    public byte* Start => (byte*)_writable;

    /// <summary>From where a byte is written to where it runs.</summary>
    public nint Distance => _slot - _writable;

    /// <summary>The first byte's address as code.</summary>
    public nint CodeStart => _slot;

    /// <summary>Code is going to be written at a place: memory for it and what follows is touched in one piece, since two faults of the host for each page are what writing and running it cost otherwise.</summary>
    public void Touch(byte* place)
    {
        int offset = (int)(place - Start) & -Environment.SystemPageSize;
        _touched = Math.Max(_touched, offset);
        if (offset + (PieceBytes / 4) <= _touched || _touched + PieceBytes > CodeSpace.SlotBytes)
            return;
        NativeCalls.Populate(_writable + _touched, PieceBytes, write: true);
        NativeCalls.Populate(_slot + _touched, PieceBytes, write: false);
        _touched += PieceBytes;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        if (_writable is not (0 or -1))
        {
            _ = NativeCalls.Empty(_writable, CodeSpace.SlotBytes);
            _ = NativeCalls.Unmap(_writable, CodeSpace.SlotBytes);
        }

        _writable = -1;
        CodeSpace.Instance.Return(_slot);
    }

    private static EngineException Failed(string call) =>
        new($"{call} for translated code failed: {Marshal.GetLastPInvokeErrorMessage()}.", "Free memory, and allow this process executable memory (SELinux: execmem).");
}

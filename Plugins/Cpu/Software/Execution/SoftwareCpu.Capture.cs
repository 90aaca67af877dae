using System.Buffers.Binary;
using Tessera.Plugins.Cpu.Software.Memory;
using Tessera.Sdk.Cpu;
using Tessera.Sdk.Cpu.X64;

namespace Tessera.Plugins.Cpu.Software;

// The x87 and vector state as a whole, for the VMM.
internal sealed unsafe partial class SoftwareCpu : ICapturesCpu
{
    // SAFETY: the state block and the vector area, which live until Dispose. Between two Runs they are the guest's: the host's registers hold nothing of it.
    private const int Lane = 16;
    private const int X87Words = XsaveArea.Tags + 1;

    /// <inheritdoc/>
    public int CaptureBytes => XsaveArea.BytesOf(_machine.Features.VectorStates);

    /// <inheritdoc/>
    public void Capture(Span<byte> area)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        XsaveArea.CheckRoom(area, CaptureBytes);
        area.Clear();
        // The last instruction stays out: it was one of the host's.
        X87[..X87Words].CopyTo(area);
        X87.Slice(XsaveArea.X87Registers, X87RegisterBytes).CopyTo(area[XsaveArea.X87Registers..]);
        BinaryPrimitives.WriteUInt32LittleEndian(area[XsaveArea.Mxcsr..], (uint)_context[StateBlock.Mxcsr]);
        for (int register = 0; register < VectorArea.VectorBytes / (2 * Lane); register++)
        {
            Vector(register)[..Lane].CopyTo(area[(XsaveArea.XmmRegisters + (register * Lane))..]);
            if (_machine.Features.WideVectors)
                Vector(register)[Lane..].CopyTo(area[(XsaveArea.UpperHalves + (register * Lane))..]);
        }

        XsaveArea.Normalize(area, more: 0);
    }

    /// <inheritdoc/>
    public void Restore(ReadOnlySpan<byte> area)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        XsaveArea.Check(area, _machine.Features.VectorStates);
        ulong present = XsaveArea.ComponentsOf(area);
        RestoreX87(area, (present & XsaveArea.X87) != 0);
        X87[X87Words..XsaveArea.Mxcsr].Clear();
        for (int register = 0; register < VectorArea.VectorBytes / (2 * Lane); register++)
        {
            Take(area, XsaveArea.XmmRegisters + (register * Lane), (present & XsaveArea.Sse) != 0, Vector(register)[..Lane]);
            Take(area, XsaveArea.UpperHalves + (register * Lane), (present & XsaveArea.Avx) != 0, Vector(register)[Lane..]);
        }

        // The other half of the word is the host's.
        BinaryPrimitives.WriteUInt32LittleEndian(new Span<byte>(_context.Block + StateBlock.Mxcsr, sizeof(uint)), BinaryPrimitives.ReadUInt32LittleEndian(area[XsaveArea.Mxcsr..]));
    }
}

using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;
using Tessera.Plugins.Block.Native;
using Tessera.Sdk.Devices;

namespace Tessera.Plugins.Block.CopyOnWrite;

/// <summary>Opens the base and the overlay that options name, and makes the overlay when it is not there.</summary>
internal static class OverlayOpener
{
    private const string What = "copy-on-write: the overlay";

    /// <summary>Opens both.</summary>
    /// <exception cref="BackendException">One of them cannot be opened, or they do not belong together.</exception>
    public static Overlay Open(CopyOnWriteOptions options, BlockAccess access)
    {
        if (options.Base.Length == 0)
            throw new BackendException("copy-on-write: the option base is missing.", "Name the file or block device beneath; for a disk without one, use raw-file.");
        BaseImage image = new(options.Base, options.Workers, options.Raw);
        OverlayFile? overlay = null;
        try
        {
            // A new overlay is written even for a disk that only reads; then it holds nothing.
            bool isNamed = options.Overlay.Length > 0;
            SafeFileHandle file = isNamed ? Named(options, image, access) : Temporary(options, image);
            overlay = new OverlayFile(file, options.Workers);
            int sector = DeviceLimits.Sector(image.Device, options.SectorSize, BlockGeometry.SmallestSector, $"copy-on-write: the base {image.Path}");
            return new Overlay(image, overlay, isNamed ? options.Overlay : "(temporary)", options.Workers) { SectorSize = sector };
        }
        catch
        {
            overlay?.Dispose();
            image.Dispose();
            throw;
        }
    }

    private static SafeFileHandle Named(CopyOnWriteOptions options, BaseImage image, BlockAccess access)
    {
        string path = options.Overlay;
        if (!File.Exists(path))
        {
            // The name comes when the contents are stable: a crash leaves a whole overlay or none.
            string unfinished = $"{path}.new";
            // A link of that name, left by whoever may write that folder, would give its target away.
            using (SafeFileHandle file = Make(options, unfinished, image, FileNative.OpenNoFollow))
            {
            }

            File.Move(unfinished, path, overwrite: false);
            SynchronizeFolder(path);
        }

        return StorageFile.Open(path, access, direct: false, What);
    }

    private static SafeFileHandle Temporary(CopyOnWriteOptions options, BaseImage image)
    {
        string path = Path.Combine(Path.GetTempPath(), $"tessera-overlay-{Guid.NewGuid():N}");
        SafeFileHandle file = Make(options, path, image, FileNative.OpenExclusive);
        File.Delete(path);
        return file;
    }

    private static SafeFileHandle Make(CopyOnWriteOptions options, string path, BaseImage image, int flags)
    {
        OverlayHeader header = new()
        {
            Size = options.Size.Bytes > 0 ? options.Size.Bytes : image.Size,
            BaseSize = image.Size,
            Fingerprint = image.Fingerprint(),
            BasePath = Path.GetFullPath(image.Path),
        };
        if (header.Size < image.Size)
            throw new BackendException($"copy-on-write: size {options.Size} is less than the base's {image.Size} bytes.", "Leave size out, or make it larger.");
        int error = FileNative.Open(path, FileNative.OpenReadWrite | FileNative.OpenCreate | flags, 0x1a4, out SafeFileHandle file);
        if (error == 0)
            StorageFile.Lock(file, path, BlockAccess.ReadWrite, What);
        if (error == 0)
            error = FileNative.Truncate(file, 0);
        if (error == 0)
            error = FileNative.Truncate(file, header.DataOffset + (header.Blocks * OverlayHeader.BlockBytes));
        if (error == 0)
        {
            using SafeFileHandle same = new(file.DangerousGetHandle(), ownsHandle: false);
            using OverlayFile overlay = new(same, workers: 1);
            if (Overlay.Format(overlay, header) != BlockStatus.Ok || FileNative.SynchronizeAll(file) != 0)
                error = -FileNative.IoError;
        }

        if (error == 0)
            return file;
        file.Dispose();
        throw new BackendException($"{What} {path} cannot be made ({Marshal.GetPInvokeErrorMessage(-error)}).", "Check its folder and the space there, and that no link of that name is there.");
    }

    private static void SynchronizeFolder(string path)
    {
        string folder = Path.GetDirectoryName(Path.GetFullPath(path))!;
        int error = FileNative.Open(folder, FileNative.OpenReadOnly, 0, out SafeFileHandle handle);
        using (handle)
        {
            if (error == 0)
                error = FileNative.SynchronizeAll(handle);
        }

        if (error < 0)
            throw new BackendException($"{What} {path}: its folder cannot be synchronized ({Marshal.GetPInvokeErrorMessage(-error)}).", "Put it on another file system.");
    }
}

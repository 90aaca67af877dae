using System.Diagnostics;
using Tessera.GuestLibrary;

namespace Tessera.Linux.Tests.Support;

/// <summary>An initial RAM disk with programs of this host, dynamic ones with their libraries, beside busybox: so that guest and host run the same code.</summary>
internal static class HostRootFilesystem
{
    private static readonly string[] Programs = ["bash", "sort", "sha256sum", "md5sum", "seq", "wc", "env", "cat", "true", "expr", "tr", "head", "xargs", "echo"];

    /// <summary>Builds the archive, uncompressed.</summary>
    /// <param name="guest">Whose busybox archive comes first; Linux unpacks concatenated archives over each other.</param>
    /// <param name="files">More files by path, executable.</param>
    public static byte[] Build(GuestEntry guest, IReadOnlyDictionary<string, byte[]> files)
    {
        using MemoryStream archive = new();
        byte[] first = File.ReadAllBytes(guest.InitrdPath!);
        archive.Write(first);
        while (archive.Length % 4 != 0)
            archive.WriteByte(0);
        CpioWriter cpio = new(archive);
        HashSet<string> libraries = [];
        foreach (string program in Programs)
        {
            string path = Run("bash", "-c", $"type -P {program}").Trim();
            cpio.File($"host/{program}", File.ReadAllBytes(path), executable: true);
            foreach (string word in Run("ldd", path).Split([' ', '\t', '\n'], StringSplitOptions.RemoveEmptyEntries))
            {
                if (word.StartsWith('/') && libraries.Add(word))
                    cpio.File(word[1..], File.ReadAllBytes(word), executable: true);
            }
        }

        foreach ((string path, byte[] data) in files)
            cpio.File(path, data, executable: true);
        cpio.Finish();
        return archive.ToArray();
    }

    /// <summary>Runs a program of this host and gives its output.</summary>
    public static string Run(string program, params IEnumerable<string> arguments)
    {
        using Process process = Process.Start(new ProcessStartInfo(program, arguments) { RedirectStandardOutput = true, RedirectStandardError = true })!;
        Task<string> errors = process.StandardError.ReadToEndAsync();
        string output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        return process.ExitCode == 0 ? output : throw new InvalidOperationException($"{program}: {errors.Result}");
    }

    /// <summary>Compiles a C program of this project statically; empty when this host cannot.</summary>
    public static byte[] TryCompile(string source, params IEnumerable<string> options)
    {
        string output = Path.GetTempFileName();
        try
        {
            _ = Run("gcc", [.. options, "-O2", "-static", "-o", output, Path.Combine(AppContext.BaseDirectory, "Programs", source)]);
            return File.ReadAllBytes(output);
        }
        catch (Exception exception) when (exception is InvalidOperationException or System.ComponentModel.Win32Exception)
        {
            return [];
        }
        finally
        {
            File.Delete(output);
        }
    }

    /// <summary>Runs a compiled program on the host; its output.</summary>
    [System.Runtime.Versioning.SupportedOSPlatform("linux")]
    public static string RunProgram(byte[] program)
    {
        string path = Path.GetTempFileName();
        try
        {
            File.WriteAllBytes(path, program);
            File.SetUnixFileMode(path, UnixFileMode.UserRead | UnixFileMode.UserExecute);
            return Run(path).TrimEnd();
        }
        finally
        {
            File.Delete(path);
        }
    }
}

namespace Tessera.Images;

/// <summary>A kernel image that cannot be used: which file, where in it, what is wrong there, and what would be right.</summary>
/// <param name="file">The name the caller gave the image, normally its path.</param>
/// <param name="where">The header field, section or byte offset concerned.</param>
/// <param name="problem">What is wrong there.</param>
/// <param name="cure">What would be right, or what to do about it.</param>
/// <param name="inner">The failure underneath, if there was one.</param>
public sealed class ImageException(string file, string where, string problem, string cure, Exception? inner = null)
    : Exception($"{file}: {where}: {problem}. {cure}.", inner)
{
    /// <summary>The name the caller gave the image.</summary>
    public string File { get; } = file;

    /// <summary>The header field, section or byte offset concerned.</summary>
    public string Where { get; } = where;

    /// <summary>What is wrong there.</summary>
    public string Problem { get; } = problem;

    /// <summary>What would be right, or what to do about it.</summary>
    public string Cure { get; } = cure;
}

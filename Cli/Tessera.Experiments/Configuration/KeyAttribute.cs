namespace Tessera.Experiments.Configuration;

/// <summary>What a configuration's key may have besides its <see cref="Sdk.Plugins.OptionAttribute"/>.</summary>
[AttributeUsage(AttributeTargets.Property)]
public sealed class KeyAttribute : Attribute
{
    /// <summary>The key, where it is not the property's name.</summary>
    public string? Name { get; set; }

    /// <summary>The word that stands for the null of a property: "auto".</summary>
    public string? Word { get; set; }

    /// <summary>A string names a plugin; the path of a DLL counts from the configuration's folder.</summary>
    public bool IsPlugin { get; set; }

    /// <summary>A string in place of the whole object is the value of this key.</summary>
    public bool StandsForAll { get; set; }

    /// <summary>The key is for others: its value is not read.</summary>
    public bool IsIgnored { get; set; }

    /// <summary>A string may be empty.</summary>
    public bool MayBeEmpty { get; set; }

    /// <summary>The most characters that the schema allows in a string; 0 for no bound.</summary>
    public int MaxLength { get; set; }

    /// <summary>The regular expression of a string.</summary>
    public string? Pattern { get; set; }

    /// <summary>What is said after a string that is none of the key's: "is not a kind of time".</summary>
    public string? Refusal { get; set; }

    /// <summary>The sentence with what would be right.</summary>
    public string? Cure { get; set; }

    /// <summary>A size is one of whole frames.</summary>
    public bool IsOfFrames { get; set; }

    /// <summary>CPUs may be given by their number, too.</summary>
    public bool IsCountable { get; set; }

    /// <summary>A list has at least one item.</summary>
    public bool IsNotEmpty { get; set; }
}

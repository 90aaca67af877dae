using System.Text.Json.Serialization;

namespace Tessera.Lab.Exports;

/// <summary>Lists of strings as JSON, which Python reads as a list of its own.</summary>
[JsonSerializable(typeof(string[]))]
internal sealed partial class StringsJson : JsonSerializerContext;

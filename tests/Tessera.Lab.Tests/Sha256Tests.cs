using System.Security.Cryptography;
using System.Text;
using FsCheck;
using FsCheck.Fluent;

namespace Tessera.Lab.Tests;

/// <summary>Our own SHA-256 against the standard's examples and .NET's.</summary>
internal sealed class Sha256Tests
{
    [TestCase("", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")]
    [TestCase("abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")]
    [TestCase("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1")]
    public void The_standards_examples_come_out(string text, string expected) =>
        Assert.That(Convert.ToHexStringLower(Sha256.Hash(Encoding.ASCII.GetBytes(text))), Is.EqualTo(expected));

    [Test]
    public void Any_data_in_any_pieces_hashes_as_dotNETs_own() => Check.One(Config.QuickThrowOnFailure, Prop.ForAll<byte[][]>(pieces =>
    {
        Sha256 hash = new();
        foreach (byte[] piece in pieces)
            hash.Append(piece);
        byte[] whole = [.. pieces.SelectMany(piece => piece)];
        return hash.End().AsSpan().SequenceEqual(SHA256.HashData(whole)) && Sha256.Hash(new MemoryStream(whole)).AsSpan().SequenceEqual(SHA256.HashData(whole));
    }));
}

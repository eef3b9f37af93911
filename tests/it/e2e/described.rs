//! The services as their descriptors tell of them, so that no method and no field that is added is forgotten.

use cambist::proto::DESCRIPTORS;
use prost::Message as _;
use prost::bytes::{Buf as _, BufMut as _};
use prost::encoding::{bytes, string};
use prost_types::field_descriptor_proto::Type;
use prost_types::{DescriptorProto, FileDescriptorSet};
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::Channel;
use tonic::{Request, Status};

/// A method of a service.
pub(super) struct Method {
    /// `Service.Method`.
    pub(super) name: String,
    /// Where it is called.
    path: String,
    /// The fields of its request that take a text or bytes, also those of messages within.
    pub(super) texts: Vec<Text>,
}

/// A field that takes a text, or bytes, which are the same on the wire.
#[derive(Clone)]
pub(super) struct Text {
    /// By its names from the outside in.
    pub(super) name: String,
    /// The tags of the messages around it.
    around: Vec<u32>,
    tag: u32,
    /// What stands beside it, lest its absence is what is refused.
    beside: Vec<u8>,
}

pub(super) fn methods() -> Vec<Method> {
    let set = FileDescriptorSet::decode(DESCRIPTORS).unwrap();
    let mut all = Vec::new();
    for file in &set.file {
        for service in &file.service {
            all.extend(service.method.iter().map(|method| Method {
                name: format!("{}.{}", service.name(), method.name()),
                path: format!("/{}.{}/{}", file.package(), service.name(), method.name()),
                texts: texts(&set, method.input_type()),
            }));
        }
    }
    assert!(all.len() > 20, "{} methods only", all.len());
    all
}

fn texts(set: &FileDescriptorSet, message: &str) -> Vec<Text> {
    let mut found = Vec::new();
    for field in &described(set, message).field {
        let tag = u32::try_from(field.number()).unwrap();
        match field.r#type() {
            Type::String | Type::Bytes => found.push(Text {
                name: field.name().to_owned(),
                around: Vec::new(),
                tag,
                beside: Vec::new(),
            }),
            // Google's own hold no texts.
            Type::Message if !field.type_name().starts_with(".google.") => {
                let inner = texts(set, field.type_name()).into_iter();
                found.extend(inner.map(|text| text.within(field.name(), tag)));
            }
            _ => {}
        }
    }
    let options = described(set, message).options.as_ref();
    if options.is_some_and(|options| options.map_entry()) {
        for text in &mut found {
            string::encode(3 - text.tag, &"a".to_owned(), &mut text.beside);
        }
    }
    found
}

/// A message by its full name, also one that is declared in another.
fn described<'a>(set: &'a FileDescriptorSet, name: &str) -> &'a DescriptorProto {
    let found = set.file.iter().find_map(|file| {
        let mut path = name
            .strip_prefix(&format!(".{}.", file.package()))?
            .split('.');
        let is = |name: &str, message: &&DescriptorProto| message.name() == name;
        let first = path.next()?;
        let outer = file.message_type.iter().find(|message| is(first, message));
        path.try_fold(outer?, |message, next| {
            message.nested_type.iter().find(|message| is(next, message))
        })
    });
    found.unwrap_or_else(|| panic!("no message {name}"))
}

impl Text {
    fn within(mut self, name: &str, tag: u32) -> Self {
        self.name = format!("{name}.{}", self.name);
        self.around.insert(0, tag);
        self
    }

    /// A request of this field alone. Behind another request it takes the place of the field there.
    pub(super) fn holding(&self, value: &str) -> Vec<u8> {
        let mut message = self.beside.clone();
        string::encode(self.tag, &value.to_owned(), &mut message);
        for tag in self.around.iter().rev() {
            let inner = std::mem::take(&mut message);
            bytes::encode(*tag, &inner, &mut message);
        }
        message
    }
}

impl Method {
    /// Calls it with an encoded request; the reply, or the first of a stream of them, is encoded too.
    pub(super) async fn call(
        &self,
        channel: &Channel,
        request: Vec<u8>,
    ) -> Result<Vec<u8>, Status> {
        let mut client = Grpc::new(channel.clone());
        client.ready().await.unwrap();
        let path = self.path.parse().unwrap();
        let answer = client.server_streaming(Request::new(request), path, Raw);
        let first = answer.await?.into_inner().message().await?;
        Ok(first.unwrap_or_default())
    }
}

/// Messages as they are on the wire.
struct Raw;

impl Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        let whole = from.remaining();
        Ok(Some(from.copy_to_bytes(whole).to_vec()))
    }
}

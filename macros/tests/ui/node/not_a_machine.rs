struct Plain;

fn main() {
    let _builder = quorate::Node::builder(Plain);
}
